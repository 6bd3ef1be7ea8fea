"""The real loading code, on randomly initialised models of the real architectures, and the embedded prior."""

import open_clip
import pytest
import torch

from cliplit.config import ModelConfig, load_params
from cliplit.errors import UserError
from cliplit.guidance.light import NamedLight
from cliplit.guidance.prompts import PromptPair
from cliplit.guidance.vlm import EMBEDDED, PRESETS, load_vlm

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lumiclip():
    return load_vlm(EMBEDDED, CPU)


@pytest.fixture(scope="module")
def paper_models(tmp_path_factory):
    """The two models of the paper from local checkpoints, as somebody without network but with the files has them."""
    folder = tmp_path_factory.mktemp("weights")
    models = []
    for config in PRESETS["paper"]:
        torch.manual_seed(0)
        torch.save(open_clip.create_model(config.name).state_dict(), folder / f"{config.name}.pt")
        models.append(load_vlm(ModelConfig(config.name, str(folder / f"{config.name}.pt")), CPU))
    return models


def test_image_features_are_unit_and_differentiable_at_any_size(lumiclip):
    image = torch.rand(2, 3, 70, 131, requires_grad=True)
    features = lumiclip.encode_images(image)
    assert torch.allclose(features.norm(dim=1), torch.ones(2), atol=1e-5)
    features[:, 0].sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


@pytest.mark.parametrize("words", ["a backlit photo", " ".join(["X"] * 16)])
def test_prompt_positions_that_matter_equal_the_whole_context(lumiclip, words):
    short = lumiclip.encode_prompts([lumiclip.embed_words(words)])
    assert torch.allclose(short, lumiclip.encode_texts([words]), atol=1e-5)


def test_a_short_prompt_beside_a_long_one_is_unchanged(lumiclip):
    prompts = [lumiclip.embed_words("a photo"), lumiclip.embed_words("a rather dark photo of a cat")]
    together = lumiclip.encode_prompts(prompts)
    assert torch.allclose(together[0], lumiclip.encode_prompts(prompts[:1])[0], atol=1e-5)


@pytest.mark.slow
def test_the_papers_models_load_from_local_checkpoints(paper_models):
    prompts, identity = paper_models
    pair = PromptPair.start(prompts, load_params().guidance)
    features = pair.features(prompts)
    assert features.shape == (2, 512)
    assert torch.allclose(features[0], prompts.encode_texts(["a backlit photo"])[0], atol=1e-4)
    assert prompts.encode_images(torch.rand(1, 3, 256, 256)).shape == (1, 512)
    layers = identity.identity_features(torch.rand(1, 3, 64, 64))
    assert [layer.shape[1] for layer in layers] == [64, 256, 512, 1024, 2048]
    assert len(prompts.identity_features(torch.rand(1, 3, 64, 64))) == 5


def test_the_pair_of_the_paper_starts_as_sixteen_placeholders(lumiclip):
    import dataclasses

    guidance = dataclasses.replace(load_params().guidance, negative_text=None)
    pair = PromptPair.start(lumiclip, guidance)
    assert pair.negative.shape == (18, lumiclip.token_width)
    assert torch.equal(pair.negative, pair.positive)


def test_prompts_survive_saving_and_equal_prompts_have_equal_bytes(lumiclip, tmp_path):
    pair = PromptPair.start(lumiclip, load_params().guidance)
    pair.save(tmp_path / "a.safetensors")
    pair.save(tmp_path / "another-name.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "another-name.safetensors").read_bytes()
    loaded = PromptPair.load(tmp_path / "a.safetensors", lumiclip)
    assert torch.equal(loaded.features(lumiclip), pair.features(lumiclip))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("ViT-B-32", "openai"), "ViT-B-32-quickgelu"),
        (ModelConfig("ViT-B-33", "openai"), "which open_clip does not know"),
        (ModelConfig("ViT-B-32-quickgelu", "nowhere.pt"), "neither a file nor a pretrained tag"),
        (ModelConfig("lumiclip", "nowhere.safetensors"), "guidance.prompt_model.weights"),
    ],
)
def test_models_that_cannot_be_had_end_in_one_sentence(config, message):
    with pytest.raises(UserError, match=message) as caught:
        load_vlm(config, CPU)
    assert "\n" not in str(caught.value)


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="does not hold weights of RN50"):
        load_vlm(ModelConfig("RN50-quickgelu", str(tmp_path / "other.pt")), CPU)


def test_missing_network_ends_in_one_sentence(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(UserError, match="could not be downloaded; connect to the network"):
        load_vlm(PRESETS["paper"][0], CPU)


def test_named_light_is_a_log_softmax_over_its_captions(lumiclip):
    light = NamedLight(lumiclip, "a well-lit photo", ("a backlit photo", "a noisy photo"))
    features = lumiclip.encode_images(torch.rand(3, 3, 96, 96))
    logits = lumiclip.logit_scale * features @ lumiclip.encode_texts(list(light.captions)).T
    assert torch.allclose(light.log_probability(features), logits.log_softmax(1)[:, 0], atol=1e-5)
