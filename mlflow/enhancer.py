"""The champion as an MLflow model: a photo file's bytes in (or base64 text), the relit photo file's bytes out.

MLflow runs this file when it loads the model (models from code), so nothing has to be pickled. One column,
"photo"; one parameter, "strength" (0 changes nothing, 1 is what was learned). Format, EXIF and ICC profile are kept.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from cliplit.enhancer import Enhancer
from cliplit.errors import PhotoError
from cliplit.photos.codecs import decode_photo, encode_photo
from cliplit.serve.limits import Limits, size

LIMITS = Limits()  # of one photo file; as `cliplit serve` has them
MAX_PHOTOS = 16  # in one request


class Refusal(MlflowException):
    """One sentence for the sender. MLflow's server puts the request itself before the message, which stays as it is."""

    @property
    def message(self) -> str:
        """The sentence it was made with."""
        return self._sentence

    @message.setter
    def message(self, text: str) -> None:
        self._sentence: str = getattr(self, "_sentence", text)


class PhotoEnhancer(PythonModel):
    """Relights photos; whatever is wrong with a request is one sentence, answered as a bad request."""

    def load_context(self, context: Any) -> None:
        """Load the network from the model's safetensors."""
        self._enhancer = Enhancer.load(Path(context.artifacts["model"]) / "model.safetensors", "auto")
        _keep_traces_to_the_log()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One relit photo for each row of the column "photo", in order."""
        strength, most = (params or {}).get("strength", 1.0), LIMITS.max_strength
        if not isinstance(strength, int | float) or not (math.isfinite(strength) and 0 <= strength <= most):
            raise _bad(f"strength is {strength!r}; send a number from 0 to {most:g}")
        photos = _rows(model_input)
        return pd.DataFrame({"photo": [self._enhance(photo, n, strength) for n, photo in enumerate(photos, 1)]})

    def _enhance(self, photo: Any, number: int, strength: float) -> bytes:
        try:
            decoded = decode_photo(_bytes(photo, number), f"photo {number}", LIMITS.max_pixels)
            return encode_photo(self._enhancer.enhance_photo(decoded, strength))
        except PhotoError as error:
            raise _bad(f"photo {number}: {error.reason}") from None
        except MemoryError:
            raise _bad(f"photo {number}: it does not fit into memory; make it smaller") from None
        except MlflowException:
            raise
        except Exception:
            logging.getLogger("cliplit").exception("Photo %d", number)
            sentence = f"photo {number}: a fault of the program, which stands in the server's log"
            raise Refusal(sentence, error_code=INTERNAL_ERROR) from None


def _keep_traces_to_the_log() -> None:
    """In MLflow's scoring server, answers to requests that it cannot parse would hold its stack trace."""
    server = sys.modules.get("mlflow.pyfunc.scoring_server")
    explain = getattr(server, "_handle_serving_error", None)
    if explain is not None and explain.__defaults__ == (True,):  # include_traceback
        explain.__defaults__ = (False,)


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
        if len(photo) > LIMITS.max_bytes * 4 // 3 + 4:
            raise _too_large(number)
        try:
            photo = base64.b64decode(photo, validate=True)
        except (binascii.Error, ValueError):
            raise _bad(f"photo {number}: this text is not base64; send the file's bytes in base64") from None
    if not isinstance(photo, bytes):
        raise _bad(f"photo {number}: expected a photo file's bytes or base64 text, got {type(photo).__name__}")
    if len(photo) > LIMITS.max_bytes:
        raise _too_large(number)
    return photo


def _too_large(number: int) -> MlflowException:
    return _bad(f"photo {number}: the file is larger than {size(LIMITS.max_bytes)}; make it smaller")


def _bad(sentence: str) -> MlflowException:
    return Refusal(sentence, error_code=INVALID_PARAMETER_VALUE)


set_model(PhotoEnhancer())
