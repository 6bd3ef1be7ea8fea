"""The pass for a GPU gives what the torch functions that training uses give, also when it is compiled."""

import shutil

import pytest
import torch

from cliplit.enhancer import Enhancer
from cliplit.networks import enhance, passes
from cliplit.networks.denoise import calm_shadows
from cliplit.networks.fused import relight_tensor
from cliplit.networks.gain import apply_illumination, guide_of
from cliplit.networks.grid import CELLS, KNOTS, illumination

MOST = 1.9


def photos(kind: torch.dtype, height: int, width: int) -> torch.Tensor:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height)) ** 2
    return (images * 255).to(kind) if kind == torch.uint8 else images.to(kind)


@pytest.fixture
def grids() -> torch.Tensor:
    return torch.rand(2, KNOTS, CELLS, CELLS, generator=torch.Generator().manual_seed(0)) * 3 - 0.4


def assert_right(relit: torch.Tensor, images: torch.Tensor, grids: torch.Tensor, strength: float) -> None:
    full = 255 if images.dtype == torch.uint8 else 1
    image = images.float() / full
    wanted = apply_illumination(image, illumination(guide_of(image), grids, MOST), strength) * full
    assert (relit.dtype, relit.shape) == (images.dtype, images.shape)
    assert (relit.float() - wanted).abs().max() <= {torch.uint8: 0.51, torch.float32: 1e-5, torch.float16: 1e-3}[
        images.dtype
    ]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (61, 47), (128, 300)])
@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_it_is_the_path_of_training(grids, kind, size, strength):
    images = photos(kind, *size)
    assert_right(relight_tensor(images, grids, MOST, strength), images, grids, strength)


def test_shadows_are_calmed_before_they_are_lifted(grids):
    images = photos(torch.float32, 61, 47)
    light = illumination(guide_of(images), grids, MOST)
    wanted = apply_illumination(calm_shadows(images, light.pow(-1.3), 0.02), light, 1.3)
    torch.testing.assert_close(relight_tensor(images, grids, MOST, 1.3, noise=0.02), wanted, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_once_it_serves_every_size_and_strength(grids):
    from torch._dynamo.utils import counters

    counters.clear()
    for size, strength in (((37, 53), 0.5), ((64, 40), 1.5)):
        images = photos(torch.uint8, *size)
        assert_right(relight_tensor(images, grids, MOST, strength, compiled=True), images, grids, strength)
    assert counters["stats"]["unique_graphs"] == 1


def test_whole_images_are_relit_as_by_the_network(weights):
    network = Enhancer.load(weights, "cpu").network
    images = photos(torch.float32, 90, 70)
    with torch.no_grad():
        wanted = enhance(network, images, 0.8)
    relit = passes.relight_images(network, images, 0.8)
    torch.testing.assert_close(relit, wanted, atol=1e-5, rtol=0)
    relit.requires_grad_().sum().backward()  # a tensor of inference mode would refuse


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_tensors_stay_there_and_arrays_come_back(weights, dark):
    slow, fast = Enhancer.load(weights, "cpu"), Enhancer.load(weights, "cuda")
    assert abs(slow(dark).astype(int) - fast(dark)).max() <= 2
    tensor = torch.from_numpy(dark).permute(2, 0, 1).cuda()
    relit = fast(tensor)
    assert relit.is_cuda and relit.dtype == torch.uint8
    assert (relit.cpu().int() - slow(tensor.cpu()).int()).abs().max() <= 2
