"""What guidance has learned, as a safetensors file; the names and ranks of its tensors say of what form it is."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cliplit.errors import UserError
from cliplit.files import atomic_path

#: Where the stage prompts writes it, below artifacts/prompts/<round>; every kind of guidance uses this name.
FILE = "prompts.safetensors"


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write ``tensors`` atomically."""
    with atomic_path(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)


def load_tensors(path: Path, shapes: dict[str, tuple[int | None, ...]], device: object) -> dict[str, Tensor]:
    """Exactly the tensors that ``shapes`` names (None fits any length); raises UserError when others lie there.

    Another kind of guidance, or another model with another width, wrote them then.
    """
    try:
        tensors = load_file(path, device=str(device))
    except SafetensorError:
        raise UserError(f"{path}: not a safetensors file; run the stage prompts again") from None
    if set(tensors) != set(shapes) or not all(_fits(tensors[name], shape) for name, shape in shapes.items()):
        raise UserError(
            f"{path}: what was learned there belongs to another guidance.kind or to another model than "
            "guidance.prompt_model; learn it anew with the stage prompts"
        )
    return tensors


def _fits(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    return tensor.ndim == len(shape) and all(
        want is None or want == size for want, size in zip(shape, tensor.shape, strict=True)
    )
