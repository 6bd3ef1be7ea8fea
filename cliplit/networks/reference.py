"""Checkpoints of the published CLIP-LIT implementation, read into our network of the same architecture."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from cliplit.errors import UserError
from cliplit.networks.unet import UNet

SUFFIXES = (".pth", ".pt")
#: The released network's illumination goes down to 0.05.
MAX_GAIN = 20.0

_LAYERS = {"cond1": "stem", "condx": "widen", "condy": "narrow", "cond_add1": "head"}
_BLOCKS = ("first.0", "first.1", "middle.0", "middle.1", "last.0", "last.1")


def _names() -> dict[str, str]:
    """Our parameter names by theirs."""
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in _LAYERS.items() for kind in ("weight", "bias")}
    for number, block in enumerate(_BLOCKS, start=1):
        for theirs, ours in (("conv1", "first"), ("conv2", "second")):
            names[f"ResidualBlock{number}.{theirs}.weight"] = f"{block}.{ours}.weight"
    for part in range(4):
        names[f"PPM1.features.{part}.1.weight"] = f"pyramid.reduce.{part}.0.weight"
        names[f"PPM1.features.{part}.2.weight"] = f"pyramid.reduce.{part}.1.weight"
    names |= {f"PPM1.fuse.{layer}.weight": f"pyramid.fuse.{layer}.weight" for layer in (0, 1)}
    return names


def load_reference(path: Path) -> UNet:
    """The network in ``path``, a state dict with or without the ``module.`` prefix of data-parallel training.

    Only tensors are unpickled. Two things differ from the reference on purpose: highlights are rolled off instead of
    clipped, and the pyramid's last convolution reflects at the border instead of padding with zeros.
    Raises UserError naming the file when it is not such a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, IndexError, ValueError):
        raise UserError(f"{path}: not a checkpoint of tensors; give the enhancement_model.pth of CLIP-LIT") from None
    names = _names()
    tensors: dict[str, Tensor] = {}
    for key, value in (state if isinstance(state, dict) else {}).items():
        tensors[names.get(str(key).removeprefix("module."), str(key))] = value
    network = UNet(MAX_GAIN)
    wanted = network.state_dict()
    if set(tensors) != set(wanted):
        odd = sorted(set(tensors) ^ set(wanted))[0]
        raise UserError(f"{path}: not a CLIP-LIT enhancement network ('{odd}' does not match); check the file")
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
            raise UserError(f"{path}: the weights of '{name}' have the shape {shapes}; this is another network")
    network.load_state_dict(tensors)
    return network
