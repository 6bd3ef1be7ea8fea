"""Checkpoints in the published implementation's format, made here from random weights."""

from __future__ import annotations

import pickle

import pytest
import torch

from cliplit.config import NetworkConfig
from cliplit.errors import UserError
from cliplit.networks import build_network, load_network
from cliplit.networks.reference import _names


@pytest.fixture
def published():
    """(state dict in the published names, the network it belongs to)."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig("unet", 20.0)).eval()
    torch.nn.init.normal_(network.head.weight, std=0.1)
    ours = network.state_dict()
    return {theirs: ours[name] for theirs, name in _names().items()}, network


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_published_checkpoint_gives_the_same_illumination(published, prefix, tmp_path):
    state, network = published
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "enhancement_model.pth")
    loaded, config = load_network(tmp_path / "enhancement_model.pth")
    image = torch.rand(1, 3, 40, 50)
    assert config.kind == "unet" and torch.equal(loaded(image), network(image))
    assert sum(value.numel() for value in state.values()) == 278_790


def test_other_shapes_are_refused_by_name(published, tmp_path):
    state, _ = published
    state["cond1.weight"] = torch.zeros(16, 3, 3, 3)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(UserError, match=r"m.pth: the weights of 'stem.weight' have the shape \(16, 3, 3, 3\)"):
        load_network(tmp_path / "m.pth")


def test_other_networks_are_refused(tmp_path):
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "m.pth")
    with pytest.raises(UserError, match="not a CLIP-LIT enhancement network"):
        load_network(tmp_path / "m.pth")


class _Sneaky:
    def __reduce__(self):
        return (print, ("code ran while a checkpoint was read",))


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps(_Sneaky(), protocol=2)])
def test_files_that_are_no_checkpoint_run_no_code_and_end_in_one_sentence(content, tmp_path, capsys):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint of tensors"):
        load_network(tmp_path / "m.pth")
    assert "code ran" not in capsys.readouterr().out
