"""The paper's network learns its teacher's light, and goes on after a cut."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from cliplit.config import load_params
from cliplit.enhancer import SHIPPED
from cliplit.networks import load_network
from cliplit.training.distil import distil


class Silent:
    def metrics(self, values, step=0) -> None:
        pass


def test_the_pupil_comes_nearer_to_its_teacher_and_is_a_unet(project: Path, tmp_path: Path) -> None:
    params = load_params(project / "params.yaml")
    out = tmp_path / "unet.safetensors"
    curve = distil(params, project, SHIPPED, out, 12, Silent())
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert curve[-1]["val_light_backlit"] > 0
    network, config = load_network(out)
    assert config.kind == "unet" and sum(value.numel() for value in network.parameters()) == 278_790


def test_a_distillation_that_was_cut_off_ends_in_the_same_weights(project: Path, tmp_path: Path) -> None:
    params = load_params(project / "params.yaml")
    whole = tmp_path / "whole.safetensors"
    distil(params, project, SHIPPED, whole, 4, Silent())
    for newest in sorted((project / "work" / "distil").glob("*/*"))[-2:]:
        newest.unlink()
    again = tmp_path / "again.safetensors"
    distil(params, project, SHIPPED, again, 4, Silent())
    one, other = load_file(whole), load_file(again)
    assert all(torch.equal(one[name], other[name]) for name in one)
