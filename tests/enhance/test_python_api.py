"""``from cliplit import Enhancer``: what goes in comes out relit, as the same kind of object."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cliplit import Enhancer
from cliplit import enhancer as module
from cliplit.config import NetworkConfig
from cliplit.errors import PhotoError, UserError
from cliplit.networks import build_network, save_network
from cliplit.networks.unet import UNet
from cliplit.photos.codecs import Photo


def test_importing_cliplit_brings_no_torch():
    lines = "import sys, cliplit; sys.exit(' '.join({'torch', 'numba', 'PIL'} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_name_is_an_attribute_error():
    import cliplit

    with pytest.raises(AttributeError, match="cliplit.*Relighter"):
        cliplit.Relighter  # noqa: B018 - the access is the test


def test_a_file_in_a_file_out(enhancer, dark, tmp_path):
    source = tmp_path / "in.png"
    Image.fromarray(dark).save(source)
    for given in (source, str(source)):
        relit = enhancer(given)
        assert isinstance(relit, Photo)
        assert np.array_equal(relit.pixels, enhancer.enhance(dark))
    relit.save(tmp_path / "out.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "out.png")), relit.pixels)
    with pytest.raises(PhotoError, match="exists already"):
        relit.save(tmp_path / "out.png")
    relit.save(tmp_path / "out.png", overwrite=True)
    with pytest.raises(PhotoError, match="no such file"):
        enhancer(tmp_path / "absent.jpg")


@pytest.mark.parametrize(("kind", "full"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_arrays_keep_their_type(enhancer, dark, kind, full):
    pixels = (dark / 255 * full).astype(kind)
    result = enhancer(pixels)
    assert (result.dtype, result.shape) == (kind, pixels.shape)
    assert np.abs(result / full - enhancer.enhance(dark) / 255).mean() < 0.01
    assert np.array_equal(enhancer(pixels, strength=0), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_pillow_images_keep_mode_alpha_and_info(enhancer, dark, mode):
    image = Image.fromarray(dark).convert(mode)
    if mode in {"RGBA", "LA"}:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["dpi"] = (300, 300)
    relit = enhancer(image)
    assert (relit.mode, relit.size, relit.info) == (mode, image.size, image.info)
    assert np.asarray(relit.convert("L")).mean() > np.asarray(image.convert("L")).mean() + 10
    if "A" in mode:
        assert relit.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("mode", ["P", "CMYK", "1", "I;16", "YCbCr"])
def test_pillow_images_of_other_modes_become_rgb(enhancer, dark, mode):
    image = Image.fromarray(dark)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    relit = enhancer(image)
    assert (relit.mode, relit.size) == ("RGB", image.size)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("batched", [False, True])
def test_tensors_keep_shape_and_type(enhancer, dark, kind, batched):
    planes = torch.from_numpy(dark).permute(2, 0, 1)
    tensor = planes if kind == torch.uint8 else (planes / 255).to(kind)
    tensor = torch.stack([tensor, tensor.flip(2)]) if batched else tensor
    relit = enhancer(tensor)
    assert (relit.shape, relit.dtype, relit.requires_grad) == (tensor.shape, kind, False)
    first = (relit[0] if batched else relit).permute(1, 2, 0).double()
    scale = 1 if kind == torch.uint8 else 255
    assert (first * scale - torch.from_numpy(enhancer.enhance(dark))).abs().max() <= 1.01
    assert torch.equal(enhancer(tensor, strength=0), tensor)
    relit.add_(0)  # a tensor of inference mode would refuse to be used in training


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(4, 4), torch.zeros(1, 4, 4), torch.zeros(3, 4, 4, dtype=torch.int64), torch.zeros(2, 2, 3, 4, 4)],
)
def test_tensors_of_other_shapes_are_refused(enhancer, wrong):
    with pytest.raises(ValueError, match="expected a tensor"):
        enhancer(wrong)


def test_other_objects_are_refused(enhancer):
    with pytest.raises(TypeError, match="got list"):
        enhancer([1, 2, 3])


def test_a_batch_is_each_of_its_photos(enhancer, dark, tmp_path):
    Image.fromarray(dark).save(tmp_path / "in.png")
    photos = [dark, Image.fromarray(dark), tmp_path / "in.png", dark[:40, :50]]
    results = enhancer.batch(photos, 0.7)
    assert [type(result).__name__ for result in results] == ["ndarray", "Image", "RelitPhoto", "ndarray"]
    assert np.array_equal(results[0], enhancer(dark, 0.7))
    assert np.array_equal(results[3], enhancer(photos[3], 0.7))
    assert enhancer.batch([]) == []


def test_predict_and_apply_are_enhance(enhancer, dark):
    grid = enhancer.predict(dark)
    assert (grid.dtype, grid.ndim) == (np.float32, 3)
    assert np.array_equal(enhancer.apply(dark, grid, 0.8), enhancer.enhance(dark, 0.8))
    brighter = enhancer.apply(dark, grid + 0.3)
    assert brighter.mean() > enhancer.enhance(dark).mean() + 2


def test_the_papers_network_predicts_no_grid(dark):
    torch.manual_seed(0)
    enhancer = Enhancer(build_network(NetworkConfig(kind="unet", max_gain=4.0)))
    for call in (lambda: enhancer.predict(dark), lambda: enhancer.apply(dark, np.zeros((12, 16, 16), np.float32))):
        with pytest.raises(ValueError, match="only the grid network"):
            call()


def test_threads_may_share_one_enhancer(enhancer):
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 200, (150 + 31 * i, 400, 3), dtype=np.uint8) for i in range(8)]
    wanted = [enhancer(photo) for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            results = list(pool.map(enhancer, photos))
            assert all(np.array_equal(*pair) for pair in zip(results, wanted, strict=True))


@pytest.mark.parametrize("network", ["grid", "unet"])
def test_the_network_that_comes_with_cliplit_can_be_asked_for(tmp_path, dark, network):
    enhancer = Enhancer.load(network=network, device="cpu", project=tmp_path)
    assert enhancer(dark).mean() > dark.mean()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="network 'fast' is unknown; use grid or unet"):
        Enhancer.load(network="fast", device="cpu")


def test_a_network_that_does_not_come_along_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WEIGHTS", tmp_path)
    with pytest.raises(UserError, match=r"unet\.safetensors: this cliplit comes without a trained unet; use grid"):
        Enhancer.load(network="unet", device="cpu")
    config = NetworkConfig(kind="unet", max_gain=4.0)
    save_network(build_network(config), config, tmp_path / "unet.safetensors")
    assert isinstance(Enhancer.load(network="unet", device="cpu").network, UNet)


def test_a_file_of_the_other_kind_is_refused(weights):
    with pytest.raises(UserError, match="network of kind grid, not unet"):
        Enhancer.load(weights, "cpu", network="unet")


@pytest.mark.parametrize("source", ["cliplit@champion", "other@champion", "cliplit@nobody"])
def test_a_model_that_is_not_registered_is_one_sentence(tmp_path, source):
    with pytest.raises(UserError, match=f"{source}: neither a weights file nor a registered model"):
        Enhancer.load(source, "cpu", project=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_registered_model_is_loaded_by_its_alias(tmp_path, monkeypatch, weights):
    from cliplit.lineage import registry

    asked: list[tuple[Path, str]] = []
    monkeypatch.setattr(registry, "alias_file", lambda project, alias: asked.append((project, alias)) or weights)
    Enhancer.load("cliplit@previous", "cpu", project=tmp_path)
    assert asked == [(tmp_path, "previous")]


def test_a_file_with_an_at_sign_is_a_file(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a@b").write_bytes(weights.read_bytes())
    assert module.weights_file("a@b") == Path("a@b")
