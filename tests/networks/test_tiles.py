"""The paper's network piece by piece: the same map as in one piece, no seam, and memory that does not grow."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.networks import apply_illumination, build_network
from cliplit.networks.tiles import illumination_bands, pooled_means
from cliplit.networks.unet import BINS, REACH, UNet
from cliplit.photos.demo import render_photo


def stirred(seed: int = 2) -> UNet:
    """A network whose map varies by a factor of two over a photo, and depends on what it pools."""
    torch.manual_seed(seed)
    network = build_network(NetworkConfig("unet", 8.0))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, a=0.2)
    torch.nn.init.normal_(network.head.weight, std=0.01)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> UNet:
    return stirred()


def photo(height: int, width: int) -> np.ndarray:
    """A demo photo at this size, uint8 HxWx3."""
    image = torch.from_numpy(render_photo("backlit", 0, 1)).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(image, (height, width), mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0).round().byte().numpy()


def as_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def in_tiles(network: UNet, image: torch.Tensor, tile: int) -> torch.Tensor:
    bands = illumination_bands(network, lambda r, c: image[..., r, c], *image.shape[-2:], tile=tile)
    return torch.cat([band for _, band in bands], dim=2)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(one.astype(float) - other).mean())))


@pytest.mark.parametrize(("size", "tile"), [((90, 131), 48), ((64, 200), 64), ((33, 150), 40), ((120, 40), 20)])
@torch.inference_mode()
def test_the_map_in_tiles_is_the_map_in_one_piece(network, size, tile):
    image = as_image(photo(*size))
    whole = network(image)
    assert whole.amax() / whole.amin() > 1.5, "a flat map would agree with anything"
    torch.testing.assert_close(in_tiles(network, image, tile), whole, rtol=0, atol=2e-5)


@torch.inference_mode()
def test_means_are_those_of_adaptive_pooling(network):
    image = as_image(photo(61, 77))
    features = network.before_pooling(image)
    found = pooled_means(network, lambda r, c: image[..., r, c], 61, 77, tile=32)
    for mean, bins in zip(found, BINS, strict=True):
        torch.testing.assert_close(mean, F.adaptive_avg_pool2d(features, bins), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_what_the_network_sees_is_what_its_reach_says(network):
    """A change REACH away is seen, one pixel further only through the pooled means."""
    image = as_image(photo(96, 96))
    other = image.clone()
    other[..., 48, 48] = 1 - other[..., 48, 48]
    means = [mean.clone() for mean in pooled_means(network, lambda r, c: image[..., r, c], 96, 96)]
    maps = []
    for each in (image, other):
        features = network.before_pooling(each)
        spread = [F.interpolate(p, (96, 96), mode="bilinear", align_corners=True) for p in network.pyramid.parts(means)]
        maps.append(network.after_pooling(network.pyramid.join(features, torch.cat(spread, 1))))
    rows, columns = torch.nonzero((maps[0] != maps[1])[0, 0], as_tuple=True)
    assert max(int((rows - 48).abs().max()), int((columns - 48).abs().max())) == REACH


def test_a_photo_enhanced_in_tiles_is_the_photo_enhanced_whole_and_has_no_seam(network):
    pixels = photo(300, 520)
    tiled = Enhancer(network).enhance(pixels)
    with torch.inference_mode():
        image = as_image(pixels)
        whole = apply_illumination(image, network(image))[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    assert psnr(tiled, pixels) < 35, "something was changed"
    assert psnr(tiled, whole) >= 45
    # 300 x 520 px are tiles of 150 x 173 px: at their borders the change must not jump more than elsewhere.
    change = np.log((tiled.astype(float) + 1) / (pixels + 1.0)).mean(axis=2)
    for axis, borders in ((0, [150]), (1, [173, 347])):
        jumps = np.abs(np.diff(change, axis=axis)).mean(axis=1 - axis)
        elsewhere = np.delete(jumps, [border - 1 for border in borders])
        assert max(jumps[border - 1] for border in borders) <= np.percentile(elsewhere, 99)


MEASURE = """
import json, sys, numpy as np, torch
from cliplit.config import NetworkConfig
from cliplit.enhancer import Enhancer
from cliplit.networks import build_network
torch.set_num_threads(1)
height, width = map(int, sys.argv[1:])
enhancer = Enhancer(build_network(NetworkConfig("unet", 8.0)))
enhancer.enhance(np.zeros((300, 300, 3), np.uint8))
peak = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
pixels = np.full((height, width, 3), 40, np.uint8)
before = peak()
result = enhancer.enhance(pixels)
print(json.dumps({"grown": peak() - before, "pixels": pixels.nbytes}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_that_of_a_tile():
    """On 900 x 900 px one layer's 64 features have 207 MB, and the eager network holds three of those at a time."""
    done = subprocess.run([sys.executable, "-c", MEASURE, "900", "900"], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["grown"] - figures["pixels"] < 300e6
