"""Image features of crops, computed once in batches and kept in work/features, so that prompts cost text only."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import astuple
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cliplit.files import atomic_path
from cliplit.guidance.vlm import VisionLanguageModel
from cliplit.networks import enhance
from cliplit.training.crops import Crop, cut, to_tensor
from cliplit.training.dataset import Dataset, PhotoRow

_BATCH = 32
_KEPT_TABLES = 64
log = logging.getLogger(__name__)
View = tuple[PhotoRow, Crop]


class FeatureStore:
    """Features under one model of crops of ``side`` px, in tables in ``folder``.

    A table is found whole or computed whole: the last bits of a feature may depend on the batch it was computed in,
    and equal inputs have to give equal bytes.
    """

    def __init__(self, folder: Path, dataset: Dataset, vlm: VisionLanguageModel, side: int) -> None:
        self.folder = folder
        self.dataset = dataset
        self.vlm = vlm
        self.side = side

    def get(self, views: list[View], network: nn.Module | None = None, network_id: str = "") -> Tensor:
        """Unit features NxD of ``views``, relit by ``network`` (whose bytes' hash is ``network_id``) if given."""
        path = self.folder / f"{self._key(views, network_id)}.safetensors"
        features = self._read(path, len(views))
        if features is None:
            features = self._compute(views, network)
            with atomic_path(path) as temporary:
                temporary.write_bytes(save({"features": features.cpu().contiguous()}))
        os.utime(path)
        for old in sorted(self.folder.glob("*.safetensors"), key=lambda each: each.stat().st_mtime)[:-_KEPT_TABLES]:
            old.unlink(missing_ok=True)
        return features.to(self.vlm.device)

    @torch.no_grad()
    def _compute(self, views: list[View], network: nn.Module | None) -> Tensor:
        parts = []
        for start in range(0, len(views), _BATCH):
            batch = views[start : start + _BATCH]
            with torch.inference_mode():
                images = [cut(self.dataset.pixels(row), crop, self.side) for row, crop in batch]
                image = to_tensor(images, self.vlm.device)
                if network is not None:
                    image = enhance(network, image)
                parts.append(self.vlm.encode_images(image))
        return torch.cat([part.clone() for part in parts])

    def _read(self, path: Path, count: int) -> Tensor | None:
        try:
            features = load(path.read_bytes())["features"]
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError):
            features = torch.empty(0)
        if len(features) != count:
            log.warning("%s is damaged; its features are computed again", path)
            return None
        return features

    def _key(self, views: list[View], network_id: str) -> str:
        listed = [(self.dataset.digest(row), astuple(crop)) for row, crop in views]
        text = json.dumps([self.vlm.fingerprint, str(self.vlm.device.type), self.side, network_id, listed])
        return hashlib.sha256(text.encode()).hexdigest()[:24]
