"""The one training loop: Adam over phases, a checkpoint every so many steps, and a curve that survives a kill."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cliplit.config import PhaseConfig
from cliplit.errors import UserError
from cliplit.files import write_json, write_text
from cliplit.training.checkpoint import Checkpoints, adam_state, load_adam

Row = dict[str, float]
_LAST = 50
_CLIP = 1.0  # bound of the gradient's norm
_RISE = 20  # steps
_FALL = 0.4  # share of the phase


class Curves(Protocol):
    """What training asks of a tracker."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Add one point to each of several curves."""
        ...


@dataclass(frozen=True)
class Phase:
    """A stretch of steps under one loss; ``key`` is where params.yaml holds its steps and step size.

    ``rate_key`` names the step size where it stands elsewhere.
    ``loss(step)`` gives {"loss": scalar, term: scalar, ...} and must be a pure function of the step and the weights.
    """

    key: str
    config: PhaseConfig
    loss: Callable[[int], dict[str, Tensor]]
    rate_key: str | None = None


def descend(
    label: str,
    module: nn.Module,
    phases: list[Phase],
    held_out: Callable[[], Row],
    checkpoints: Checkpoints,
    every: int,
    weight_decay: float,
    tracker: Curves,
) -> list[Row]:
    """Train ``module`` through ``phases``, from the newest checkpoint if there is one; returns the whole curve.

    Each phase starts with a fresh Adam. ``held_out()`` is asked at every checkpoint. Raises UserError naming the
    learning rate when the loss or a weight is no longer finite; the checkpoint before that stays.
    """
    loop_state: dict[str, Any] = checkpoints.latest() or {"step": 0, "module": module.state_dict(), "curve": []}
    module.load_state_dict(loop_state["module"])
    curve: list[Row] = loop_state["curve"]
    total = sum(phase.config.steps for phase in phases)
    progress = Progress(label, loop_state["step"], total)
    optimizer: torch.optim.Adam | None = None
    for step in range(loop_state["step"], total):
        phase, begin = _phase_at(phases, step)
        if optimizer is None or step == begin:
            optimizer = torch.optim.Adam(module.parameters(), lr=phase.config.learning_rate, weight_decay=weight_decay)
            if step > begin:
                load_adam(optimizer, loop_state["adam"])
        terms = phase.loss(step)
        row = {"step": step + 1, **{name: float(value.detach()) for name, value in terms.items()}}
        _check_finite(row["loss"], phase, step)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
        for group in optimizer.param_groups:
            group["lr"] = phase.config.learning_rate * rate(step - begin, phase.config.steps)
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == total:
            _check_finite(_size(module), phase, step)
            row |= held_out()
        curve.append(row)
        tracker.metrics({name: value for name, value in row.items() if name != "step"}, step + 1)
        if (step + 1) % every == 0 or step + 1 == total:
            memory = adam_state(optimizer)
            checkpoints.save({"step": step + 1, "module": module.state_dict(), "adam": memory, "curve": curve})
        progress.show(step + 1, row["loss"])
    progress.close()
    return curve


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at ``step`` of a phase: a short rise, a plateau, and a straight fall to the end."""
    rise = min(1.0, (step + 1) / _RISE)
    fall = min(1.0, (steps - step) / (_FALL * steps))
    return min(rise, fall)


def _phase_at(phases: list[Phase], step: int) -> tuple[Phase, int]:
    """The phase that ``step`` belongs to, and the step it begins with."""
    begin = 0
    for phase in phases:
        if step < begin + phase.config.steps:
            return phase, begin
        begin += phase.config.steps
    raise ValueError(f"step {step} is behind the last phase")


def _size(module: nn.Module) -> float:
    """A number that is finite exactly when all weights are."""
    with torch.no_grad():
        return float(sum(value.abs().amax() for value in module.parameters()))


def _check_finite(value: float, phase: Phase, step: int) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"params.yaml: training diverged at step {step + 1}, the loss is no longer a number; lower the key "
            f"'{phase.rate_key or f'{phase.key}.learning_rate'}', which is {phase.config.learning_rate}"
        )


def write_curve(path: Path, curve: list[Row]) -> None:
    """The curve as CSV: step, loss, terms; what was not measured at a step is left empty."""
    names = list(dict.fromkeys(name for row in curve for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in curve:
        writer.writerow({name: int(value) if name == "step" else f"{value:.6g}" for name, value in row.items()})
    write_text(path, text.getvalue())


def write_metrics(path: Path, curve: list[Row]) -> None:
    """Final values as flat JSON: training terms averaged over the last steps, held-out ones as last measured."""
    last = curve[-1]
    values = {}
    for name in last:
        recent = [row[name] for row in curve[-_LAST:] if name in row]
        values[name] = last[name] if name.startswith(("val_", "step")) else sum(recent) / len(recent)
    values["steps"] = values.pop("step")
    write_json(path, {name: round(value, 6) for name, value in values.items()})


@contextmanager
def reproducible(device: torch.device, seed: int) -> Iterator[None]:
    """Seeded, and deterministic algorithms on the CPU; leaves torch's settings and generator as they were."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


class Progress:
    """A bar in a terminal; elsewhere a line every tenth of the way."""

    def __init__(self, label: str, start: int, total: int) -> None:
        self.label, self.start, self.total = label, start, total
        self.bar = tqdm(total=total, initial=start, desc=label, unit="step") if sys.stderr.isatty() else None
        if start and self.bar is None:
            print(f"{label}: going on from step {start} of {total}", file=sys.stderr, flush=True)

    def show(self, step: int, loss: float) -> None:
        """``step`` steps are done."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self.bar.update(1)
        elif step == self.total or step * 10 // self.total > (step - 1) * 10 // self.total:
            print(f"{self.label}: step {step} of {self.total}, loss {loss:.4f}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
