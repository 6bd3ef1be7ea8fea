"""What a photo can be besides a file: a Pillow image or a torch tensor, to pixels and back to the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cliplit.photos.codecs import Photo, write_photo
from cliplit.photos.colour import to_rgb

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = {"L", "LA", "RGB", "RGBA"}


class RelitPhoto(Photo):
    """A photo that can write itself."""

    @classmethod
    def of(cls, photo: Photo) -> RelitPhoto:
        """``photo`` as a photo that can write itself."""
        return cls(**{field.name: getattr(photo, field.name) for field in fields(photo)})

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write it in the format of ``path``'s suffix, with its metadata; raises PhotoError."""
        write_photo(self, path, overwrite)


def from_pillow(image: Image.Image) -> np.ndarray:
    """uint8 H x W x 3 of an image of any mode, in its own profile where that is one for RGB; alpha is left aside."""
    if image.mode in {"LA", "RGBA"}:
        return np.array(image.convert("RGB"))
    return np.array(to_rgb(image, image.info.get("icc_profile")))


def to_pillow(pixels: np.ndarray, like: Image.Image) -> Image.Image:
    """A Pillow image of uint8 ``pixels`` with the mode, alpha and info of ``like``; modes of other kinds become RGB."""
    result = Image.fromarray(pixels)
    if like.mode in _KEPT:
        result = result.convert(like.mode)
    if like.mode in {"LA", "RGBA"}:
        result.putalpha(like.getchannel("A"))
    result.info = dict(like.info)
    return result


def from_tensor(images: Tensor) -> list[np.ndarray]:
    """uint8 or float32 H x W x 3 of each image of a tensor 3HW or B3HW; raises ValueError for another tensor."""
    whole = as_batch(images)
    whole = whole.float() if whole.is_floating_point() else whole
    return list(whole.permute(0, 2, 3, 1).cpu().contiguous().numpy())


def as_batch(images: Tensor) -> Tensor:
    """B3HW of a tensor 3HW or B3HW, uint8 or floating point, without its history; raises ValueError for another."""
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        raise ValueError(f"expected a tensor 3HW or B3HW, got the shape {tuple(images.shape)}")
    if not images.is_floating_point() and str(images.dtype) != "torch.uint8":
        raise ValueError(f"expected a tensor of uint8 or floating point, got {images.dtype}")
    return images.detach()[None] if images.ndim == 3 else images.detach()


def to_tensor(pictures: Sequence[np.ndarray], like: Tensor) -> Tensor:
    """What ``from_tensor`` took apart, with the shape, type and device of ``like``."""
    import torch  # here, because it takes seconds, and reading photo files does without it

    if not pictures:
        return torch.empty_like(like)
    whole = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return whole.reshape(like.shape).to(device=like.device, dtype=like.dtype)
