"""The champion as an MLflow model: a photo file's bytes in (or base64 text), the relit photo file's bytes out.

MLflow runs this file when it loads the model (models from code), so nothing has to be pickled. One column,
"photo"; one parameter, "strength" (0 changes nothing, 1 is what was learned). Format, EXIF and ICC profile are kept.
"""

from __future__ import annotations

import base64
import binascii
import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from cliplit.enhancer import Enhancer
from cliplit.errors import PhotoError
from cliplit.photos.codecs import PHOTO_SUFFIXES, read_photo, write_photo

MAX_BYTES = 32 * 2**20  # of one photo file
MAX_PIXELS = 50_000_000
MAX_PHOTOS = 16  # in one request
MAX_STRENGTH = 4.0


class PhotoEnhancer(PythonModel):
    """Relights photos; whatever is wrong with a request is one sentence, answered as a bad request."""

    def load_context(self, context: Any) -> None:
        """Load the network from the model's safetensors."""
        self._enhancer = Enhancer.load(Path(context.artifacts["model"]) / "model.safetensors", "auto")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One relit photo for each row of the column "photo", in order."""
        strength = (params or {}).get("strength", 1.0)
        if not isinstance(strength, int | float) or not (math.isfinite(strength) and 0 <= strength <= MAX_STRENGTH):
            raise _bad(f"strength is {strength!r}; send a number from 0 to {MAX_STRENGTH:g}")
        photos = _rows(model_input)
        return pd.DataFrame({"photo": [self._enhance(photo, n, strength) for n, photo in enumerate(photos, 1)]})

    def _enhance(self, photo: Any, number: int, strength: float) -> bytes:
        data = _bytes(photo, number)
        with tempfile.TemporaryDirectory(prefix="cliplit-") as folder:
            source = Path(folder) / "in"
            source.write_bytes(data)
            try:
                decoded = read_photo(source, max_pixels=MAX_PIXELS)
                target = Path(folder) / f"out.{decoded.format.lower()}"
                if target.suffix not in PHOTO_SUFFIXES:
                    target = target.with_suffix(".png")
                write_photo(self._enhancer.enhance_photo(decoded, strength), target)
            except PhotoError as error:
                raise _bad(f"photo {number}: {error.reason}") from None
            return target.read_bytes()


def _rows(model_input: Any) -> list[Any]:
    if isinstance(model_input, pd.DataFrame):
        if "photo" not in model_input.columns:
            raise _bad('the column "photo" is missing; send the photo files in it')
        rows = model_input["photo"].tolist()
    elif isinstance(model_input, bytes | str):
        rows = [model_input]
    else:
        rows = list(model_input)
    if not 1 <= len(rows) <= MAX_PHOTOS:
        raise _bad(f"{len(rows)} photos in one request; send 1 to {MAX_PHOTOS}")
    return rows


def _bytes(photo: Any, number: int) -> bytes:
    """The file's bytes; text is base64."""
    if isinstance(photo, str):
        if len(photo) > MAX_BYTES * 4 // 3 + 4:
            raise _too_large(number)
        try:
            photo = base64.b64decode(photo, validate=True)
        except (binascii.Error, ValueError):
            raise _bad(f"photo {number}: this text is not base64; send the file's bytes in base64") from None
    if not isinstance(photo, bytes):
        raise _bad(f"photo {number}: expected a photo file's bytes or base64 text, got {type(photo).__name__}")
    if len(photo) > MAX_BYTES:
        raise _too_large(number)
    return photo


def _too_large(number: int) -> MlflowException:
    return _bad(f"photo {number}: the file is larger than {MAX_BYTES // 2**20} MiB; make it smaller")


def _bad(sentence: str) -> MlflowException:
    return MlflowException(sentence, error_code=INVALID_PARAMETER_VALUE)


set_model(PhotoEnhancer())
