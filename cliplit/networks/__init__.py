"""Networks that see a photo and give its illumination map; enhancement divides by it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cliplit.config import NetworkConfig
from cliplit.errors import UserError
from cliplit.files import atomic_path
from cliplit.networks import reference
from cliplit.networks.gain import apply_illumination
from cliplit.networks.grid import GridNetwork
from cliplit.networks.unet import UNet

__all__ = ["apply_illumination", "build_network", "enhance", "load_network", "save_network"]

_FORMAT = "cliplit-network-1"


def build_network(config: NetworkConfig) -> nn.Module:
    """A freshly initialised network that leaves photos nearly as they are; seed torch before, for the same weights."""
    return GridNetwork(config.max_gain) if config.kind == "grid" else UNet(config.max_gain)


def enhance(network: nn.Module, image_BCHW: Tensor, strength: float = 1.0) -> Tensor:
    """Enhanced image B3HW in 0..1 of an image in 0..1; differentiable."""
    return apply_illumination(image_BCHW, network(image_BCHW), strength)


def save_network(network: nn.Module, config: NetworkConfig, path: Path) -> None:
    """Write weights and what they are weights of into one safetensors file, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = json.dumps({"format": _FORMAT, "network": asdict(config)}, sort_keys=True)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"cliplit": header})


def load_network(path: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, NetworkConfig]:
    """Read what ``save_network`` wrote, or a checkpoint of the published CLIP-LIT (.pth).

    Raises UserError naming the file when it is not there or something else.
    """
    if path.suffix in reference.SUFFIXES and path.is_file():
        return reference.load_reference(path).to(device).eval(), NetworkConfig("unet", reference.MAX_GAIN)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = json.loads((file.metadata() or {}).get("cliplit", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the weights of a trained network") from None
    except (SafetensorError, OSError, json.JSONDecodeError):
        raise UserError(f"{path}: not a safetensors file; give the weights of a network trained by cliplit") from None
    if header.get("format") != _FORMAT:
        raise UserError(f"{path}: these are not weights of a cliplit network; give a model.safetensors of ours")
    config = NetworkConfig(**header["network"])
    network = build_network(config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise UserError(f"{path}: the weights do not fit their network '{config.kind}'; train it anew") from None
    return network.to(device).eval(), config
