"""What speed and memory are measured on: a picture of any size, and the paper's network."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from cliplit.enhancer import Enhancer, shipped
from cliplit.errors import UserError
from cliplit.networks.unet import UNet
from cliplit.photos.demo import render_photo


def picture(height: int, width: int) -> np.ndarray:
    """A rendered backlit scene at this size, with a camera's grain, which makes files as large as those of cameras."""
    small = Image.fromarray(render_photo("backlit", 0, 1)).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 2.5, (512, 512, 1)).round().astype(np.int16)
    tiled = np.tile(grain, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    return (np.asarray(small).astype(np.int16) + tiled).clip(0, 255).astype(np.uint8)


def papers_network() -> UNet:
    """The paper's network: the one that comes with cliplit, else one with random weights, which are as fast."""
    try:
        network = Enhancer.load(shipped("unet"), "cpu").network
        assert isinstance(network, UNet)
        return network
    except UserError:
        pass
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = UNet(8.0).eval()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, a=0.2)
        torch.nn.init.normal_(network.head.weight, std=0.01)
    return network
