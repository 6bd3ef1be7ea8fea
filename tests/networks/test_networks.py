"""What a photographer relies on: bounded gain, hue, order of tones, nothing clipped that was not."""

import math

import pytest
import torch

from cliplit.config import NetworkConfig
from cliplit.errors import UserError
from cliplit.networks import apply_illumination, build_network, enhance, load_network, save_network
from cliplit.networks.grid import illumination

KINDS = ("grid", "unet")


def network(kind, max_gain=8.0, seed=0, stirred=False):
    """A network; stirred, its last layers are random, so that its gains are not one."""
    torch.manual_seed(seed)
    built = build_network(NetworkConfig(kind, max_gain))
    if stirred:
        layers = [built.everywhere, built.cells] if kind == "grid" else [built.head]
        for layer in layers:
            torch.nn.init.normal_(layer.weight, std=0.3)
    return built.eval()


def test_the_papers_network_has_the_papers_parameters():
    assert sum(value.numel() for value in network("unet").parameters()) == 278_790


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_network_changes_next_to_nothing(kind):
    image = torch.rand(1, 3, 64, 80)
    assert (enhance(network(kind), image) - image).abs().max() < 0.06


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (97, 211), (33, 40)])
def test_illumination_has_one_channel_at_full_size_and_a_bounded_gain(kind, size):
    with torch.inference_mode():
        map_ = network(kind, max_gain=3.0, stirred=True)(torch.rand(2, 3, *size))
    assert map_.shape == (2, 1, *size)
    assert (1 / map_).max() <= 3.0 + 1e-4
    assert torch.isfinite(map_).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    built = network(kind, stirred=True)
    enhance(built, torch.rand(2, 3, 64, 64) * 0.5).square().mean().backward()
    silent = [name for name, value in built.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert silent == []


def test_gain_by_hand():
    image = torch.tensor([0.2, 0.1, 0.05]).view(1, 3, 1, 1)
    enhanced = apply_illumination(image, torch.full((1, 1, 1, 1), 0.5))
    knee = (1 + 0.4**4 - 0.2**4) ** -0.25
    lifted = [0.4 * knee, 0.2 * knee, 0.1 * knee]
    luma = 0.299 * lifted[0] + 0.587 * lifted[1] + 0.114 * lifted[2]
    certainty = 0.2 / (0.2 + 1.5 / 255)
    assert enhanced.flatten().tolist() == pytest.approx([luma + (v - luma) * certainty for v in lifted], rel=1e-4)


def test_a_gain_of_one_changes_nothing():
    image = torch.rand(1, 3, 16, 16)
    assert torch.allclose(apply_illumination(image, torch.ones(1, 1, 16, 16)), image, atol=1e-6)


def test_white_stays_white_black_stays_black_and_nothing_else_clips():
    ramp = torch.linspace(0, 1, 256).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    for gain in (0.9, 1.5, 4.0, 8.0):
        lifted = apply_illumination(ramp, torch.full((1, 1, 1, 256), 1 / gain))[0, 0, 0]
        assert lifted[0] == 0 and lifted[-1] == pytest.approx(1.0, abs=1e-5)
        assert (lifted[1:] >= lifted[:-1]).all()
        assert lifted[:-1].max() < 1


def hue(image):
    """Degrees of hue of each pixel, B3HW to BHW."""
    red, green, blue = image.unbind(1)
    return torch.rad2deg(torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue))


def test_hue_stays_and_only_deep_shadows_lose_colour():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 8) * torch.linspace(0.02, 1, 8).view(1, 1, 1, 8)
    enhanced = apply_illumination(image, torch.full((1, 1, 8, 8), 0.3))
    turn = (hue(enhanced) - hue(image) + 180) % 360 - 180
    assert turn.abs().max() < 0.1

    def saturation(pixels):
        return (pixels.amax(1) - pixels.amin(1)) / pixels.amax(1)

    kept = (saturation(enhanced) / saturation(image))[0]
    assert kept[:, 7].min() > 0.95 and kept[:, 0].max() < 0.8


def test_strength_zero_is_the_input_and_strength_grows_the_gain():
    image, map_ = torch.rand(1, 3, 4, 4) * 0.5, torch.full((1, 1, 4, 4), 0.5)
    assert torch.equal(apply_illumination(image, map_, strength=0), image)
    means = [apply_illumination(image, map_, strength).mean().item() for strength in (0, 0.5, 1, 1.5)]
    assert means == sorted(means) and len(set(means)) == 4


def test_every_gain_curve_falls_but_keeps_the_order_of_tones():
    with torch.inference_mode():
        grid = network("grid", stirred=True).predict(torch.rand(4, 3, 64, 64))
    assert (grid[:, 1:] <= grid[:, :-1] + 1e-6).all()
    intensity = torch.linspace(0, 1, grid.shape[1]).view(1, -1, 1, 1)
    tones = intensity * grid.exp()
    assert (tones[:, 1:] > tones[:, :-1]).all()


def test_slicing_keeps_a_step_edge_in_the_guide_a_step():
    guide = torch.full((1, 1, 96, 96), 0.05)
    guide[..., 48:] = 0.9
    torch.manual_seed(0)
    grid = torch.randn(1, 12, 1, 1).expand(1, 12, 16, 16).contiguous()
    map_ = illumination(guide, grid, math.log(8.0))[0, 0]
    assert map_[:, :48].std() < 1e-5 and map_[:, 48:].std() < 1e-5
    assert (map_[0, 0] - map_[0, -1]).abs() > 0.05


def test_slicing_by_hand():
    grid = torch.tensor([0.8, 0.4, 0.0]).view(1, 3, 1, 1)
    guide = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 1, 5)
    gains = -illumination(guide, grid, 2.0).log().flatten()
    assert gains.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_networks_come_back_and_equal_ones_have_equal_bytes(kind, tmp_path):
    config = NetworkConfig(kind, 5.0)
    built = network(kind, 5.0, stirred=True)
    save_network(built, config, tmp_path / "a.safetensors")
    save_network(built, config, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded, read = load_network(tmp_path / "a.safetensors")
    image = torch.rand(1, 3, 40, 40)
    assert read == config and torch.equal(loaded(image), built(image))


def test_files_that_are_no_network_end_in_one_sentence(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_network(tmp_path / "text.safetensors")
    with pytest.raises(UserError, match="there is no such file"):
        load_network(tmp_path / "none.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not weights of a cliplit network"):
        load_network(tmp_path / "other.safetensors")


def test_log_gain_bound_matches_its_documentation():
    assert network("grid", 8.0).most_log_gain == pytest.approx(math.log(8.0))
