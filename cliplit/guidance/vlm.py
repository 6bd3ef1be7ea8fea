"""Vision-language models: any open_clip model, or the embedded lumiclip, behind one small interface."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
import torch.nn.functional as F
from huggingface_hub import constants as hub
from open_clip.constants import OPENAI_DATASET_MEAN as MEAN
from open_clip.constants import OPENAI_DATASET_STD as STD
from open_clip.modified_resnet import ModifiedResNet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cliplit.config import GuidanceConfig, ModelConfig
from cliplit.errors import UserError
from cliplit.guidance.lumiclip.captions import vocabulary

_LUMICLIP = Path(__file__).parent / "lumiclip"
_HUB_SECONDS = 5
_WORDS_AT_ONCE = 512
EMBEDDED = ModelConfig(name="lumiclip", weights="embedded")
PRESETS = {
    "lumiclip": (EMBEDDED, EMBEDDED),
    "paper": (ModelConfig(name="ViT-B-32-quickgelu", weights="openai"), ModelConfig("RN101-quickgelu", "openai")),
}


class VisionLanguageModel:
    """A frozen CLIP. Images are B3HW in 0..1 sRGB of any size; features have unit length."""

    def __init__(self, clip: nn.Module, tokenizer: Any, fingerprint: str, words: tuple[str, ...] = ()) -> None:
        self.clip = clip.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.fingerprint = fingerprint
        self._words = words
        self.visual = cast(Any, clip.visual)
        self.text: Any = getattr(clip, "text", clip)
        self.logit_scale = float(cast(Tensor, clip.logit_scale).exp())
        side = self.visual.image_size
        self.image_size: tuple[int, int] = (side, side) if isinstance(side, int) else (side[0], side[1])
        mean = getattr(self.visual, "image_mean", None) or MEAN
        std = getattr(self.visual, "image_std", None) or STD
        self._mean = torch.tensor(mean).view(1, 3, 1, 1).to(self.device)
        self._std = torch.tensor(std).view(1, 3, 1, 1).to(self.device)

    @property
    def device(self) -> torch.device:
        return cast(Tensor, self.clip.logit_scale).device

    @cached_property
    def token_width(self) -> int:
        """Width W of a token embedding."""
        return int(self._token_embedding.weight.shape[1])

    @cached_property
    def feature_width(self) -> int:
        """Width D of an image's features."""
        with torch.no_grad():
            return int(self.encode_images(torch.zeros(1, 3, *self.image_size, device=self.device)).shape[1])

    def encode_images(self, image_BCHW: Tensor) -> Tensor:
        """Unit features BxD; differentiable. The whole picture is squeezed to the model's square (bicubic)."""
        return F.normalize(self.visual((self._resized(image_BCHW) - self._mean) / self._std), dim=-1)

    @property
    def has_dense_features(self) -> bool:
        """Whether ``dense_features`` can be asked: of a ModifiedResNet, on which alone they were shown to work."""
        return isinstance(self.visual, ModifiedResNet)

    def dense_features(self, image_BCHW: Tensor) -> Tensor:
        """Unit features BxLxD, one of each location before pooling (MaskCLIP, arXiv 2112.01071); differentiable.

        Attention without queries and keys: the pool's value and output projections, applied where a feature stands.
        """
        inputs = (self._resized(image_BCHW) - self._mean) / self._std
        deep = self.visual.forward_intermediates(inputs, indices=1, intermediates_only=True)["image_intermediates"][-1]
        pool = self.visual.attnpool
        return F.normalize(pool.c_proj(pool.v_proj(deep.flatten(2).transpose(1, 2))), dim=-1)

    def identity_features(self, image_BCHW: Tensor) -> list[Tensor]:
        """Intermediate features, shallow to deep: [stem, layer1..4] of a ResNet at the picture's own resolution."""
        if isinstance(self.visual, ModifiedResNet):
            inputs, indices = (image_BCHW - self._mean) / self._std, None
        else:
            inputs, indices = (self._resized(image_BCHW) - self._mean) / self._std, 5
        output = self.visual.forward_intermediates(inputs, indices=indices, intermediates_only=True)
        return cast(list[Tensor], output["image_intermediates"])

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Unit features NxD of whole sentences."""
        return cast(Any, self.clip).encode_text(self.tokenizer(texts).to(self.device), normalize=True)

    def vocabulary(self) -> tuple[str, ...]:
        """The words that the text encoder knows: given with the model, or else the whole words of its tokenizer."""
        if self._words:
            return self._words
        whole = [number for token, number in self.tokenizer.encoder.items() if token.endswith("</w>")]
        return tuple(self.tokenizer.decode([number]).strip() for number in whole)

    @torch.no_grad()
    def encode_words(self, words: Sequence[str]) -> Tensor:
        """Unit features NxD of short texts, computed over no more positions than they have."""
        parts = [words[start : start + _WORDS_AT_ONCE] for start in range(0, len(words), _WORDS_AT_ONCE)]
        return torch.cat([self.encode_prompts([self.embed_words(word) for word in part]) for part in parts])

    def embed_words(self, text: str) -> Tensor:
        """Token embeddings LxW of ``text`` with its start and end tokens, and nothing behind them."""
        tokens = self.tokenizer([text])[0].to(self.device)
        end = int(tokens.argmax())
        return self._token_embedding(tokens[: end + 1]).detach().clone()

    def encode_prompts(self, prompts: list[Tensor]) -> Tensor:
        """Unit features NxD of prompts given as token embeddings (each LxW, start to end token); differentiable.

        The mask is causal and the feature is read at the last token, so nothing behind it is computed.
        """
        length = max(len(prompt) for prompt in prompts)
        padded = torch.stack([F.pad(prompt, (0, 0, 0, length - len(prompt))) for prompt in prompts])
        hidden = padded + self.text.positional_embedding[:length]
        hidden = self.text.transformer(hidden, attn_mask=self.text.attn_mask[:length, :length])
        ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
        hidden = self.text.ln_final(hidden)[torch.arange(len(prompts), device=hidden.device), ends]
        projection = self.text.text_projection
        if projection is not None:
            hidden = projection(hidden) if isinstance(projection, nn.Linear) else hidden @ projection
        return F.normalize(hidden, dim=-1)

    @property
    def _token_embedding(self) -> nn.Embedding:
        return cast(nn.Embedding, self.text.token_embedding)

    def _resized(self, image_BCHW: Tensor) -> Tensor:
        if tuple(image_BCHW.shape[-2:]) == self.image_size:
            return image_BCHW
        # Bicubic overshoots; the clamp keeps what the model sees a photo.
        return F.interpolate(image_BCHW, size=self.image_size, mode="bicubic", antialias=True).clamp(0, 1)


def resolve_models(guidance: GuidanceConfig, device: torch.device) -> tuple[VisionLanguageModel, VisionLanguageModel]:
    """The model of the prompts and the model of the identity loss; one object when they are the same."""
    prompt_default, identity_default = PRESETS[guidance.preset]
    prompt_config = guidance.prompt_model or prompt_default
    identity_config = guidance.identity_model or identity_default
    prompt_model = load_vlm(prompt_config, device, key="guidance.prompt_model")
    if identity_config == prompt_config:
        return prompt_model, prompt_model
    return prompt_model, load_vlm(identity_config, device, key="guidance.identity_model")


def read_architecture() -> dict[str, Any]:
    """lumiclip's architecture, as open_clip's CLIP takes it."""
    architecture: dict[str, Any] = json.loads((_LUMICLIP / "lumiclip.json").read_text(encoding="utf-8"))
    return architecture


def load_vlm(config: ModelConfig, device: torch.device, key: str = "guidance.prompt_model") -> VisionLanguageModel:
    """Load a model on ``device``; raises UserError naming ``key`` and the fix when its weights cannot be had."""
    if config.name == "lumiclip":
        return _load_lumiclip(config, device, key)
    if config.name not in open_clip.list_models():
        raise UserError(
            f"params.yaml: key '{key}.name' is '{config.name}', which open_clip does not know; "
            "use a name that open_clip.list_models() prints, or lumiclip"
        )
    if config.weights == "openai" and not config.name.endswith("-quickgelu"):
        raise UserError(
            f"params.yaml: key '{key}.name' is '{config.name}', but OpenAI's weights need the QuickGELU activation; "
            f"write {config.name}-quickgelu"
        )
    clip = _create_open_clip(config, device, key)
    return VisionLanguageModel(clip, open_clip.get_tokenizer(config.name), _fingerprint(config.name, clip))


def _create_open_clip(config: ModelConfig, device: torch.device, key: str) -> nn.Module:
    is_tag = config.weights in open_clip.list_pretrained_tags_by_model(config.name)
    if not is_tag and not Path(config.weights).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(config.name)) or "none"
        raise UserError(
            f"params.yaml: key '{key}.weights' is '{config.weights}', which is neither a file nor a pretrained tag "
            f"of {config.name}; its tags are {tags}"
        )
    if is_tag and not _hub_answers():
        hub.HF_HUB_OFFLINE = True  # what was downloaded before still loads; what was not fails now, not after a minute
    try:
        return open_clip.create_model(config.name, pretrained=config.weights, device=device, require_pretrained=True)
    except Exception as error:  # open_clip, its hub client and torch each raise their own kinds
        if is_tag:
            reason = "could not be downloaded; connect to the network, or give a local file there, or use lumiclip"
        else:
            reason = f"does not hold weights of {config.name}; give a checkpoint of that model"
        raise UserError(f"params.yaml: key '{key}.weights': '{config.weights}' {reason}") from error


def _hub_answers() -> bool:
    """Whether the place where open_clip finds pretrained weights can be reached, asked once."""
    try:
        urllib.request.urlopen(urllib.request.Request(hub.ENDPOINT, method="HEAD"), timeout=_HUB_SECONDS).close()
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False
    return True


def _load_lumiclip(config: ModelConfig, device: torch.device, key: str) -> VisionLanguageModel:
    path = _LUMICLIP / "lumiclip.safetensors" if config.weights == "embedded" else Path(config.weights)
    architecture = read_architecture()
    clip = open_clip.CLIP(**architecture)
    try:
        clip.load_state_dict({name: value.float() for name, value in load_file(path).items()}, strict=False)
        missing = set(clip.state_dict()) - set(load_file(path))
    except FileNotFoundError:
        raise UserError(
            f"{path.name}: the weights of lumiclip are not there; check the key '{key}.weights' in params.yaml, "
            "or reinstall cliplit"
        ) from None
    except (SafetensorError, RuntimeError):
        missing = {"all"}
    if missing:
        raise UserError(f"{path}: does not hold weights of lumiclip; check the key '{key}.weights' in params.yaml")
    tokenizer = open_clip.SimpleTokenizer(context_length=architecture["text_cfg"]["context_length"])
    return VisionLanguageModel(clip.to(device), tokenizer, _fingerprint("lumiclip", clip), vocabulary())


def _fingerprint(name: str, clip: nn.Module) -> str:
    """A hash of the weights, by which cached features are told apart."""
    digest = hashlib.sha256(name.encode())
    for key, value in sorted(clip.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
