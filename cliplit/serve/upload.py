"""A photo's bytes from a request, raw or as a form's file, held in memory only and never more than allowed.

Starlette's own form parser is not used: it spools files to the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cliplit.serve.limits import Limits, Refused, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_ENVELOPE = 64 * 1024  # bytes that a form may hold around its photo
_LINGER = 2  # times as much as is allowed is read, and thrown away, before the line is cut
_EMPTY = "the request holds no photo; send the file as its body, or as the file of a form"


async def receive(request: Request, limits: Limits) -> bytes:
    """The photo file that ``request`` brings, at least one byte; raises Refused (400, 413)."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    form = _Form(options.get(b"boundary", b""), limits) if kind == b"multipart/form-data" else None
    allowed = limits.max_bytes + (_ENVELOPE if form else 0)
    declared = request.headers.get("content-length", "")
    body = bytearray()
    received = 0
    refused = too_large(limits) if declared.isdigit() and int(declared) > allowed else None
    async for chunk in request.stream():
        received += len(chunk)
        if received > allowed:
            refused = refused or too_large(limits)
            body.clear()
        if received > _LINGER * allowed:
            break
        if refused:
            continue  # a sender that is cut off at once does not read why
        if form:
            form.feed(chunk)
        else:
            body += chunk
    if refused:
        raise refused
    photo = form.photo if form else body
    if not photo:
        raise Refused(400, "no_photo", _EMPTY)
    return bytes(photo)


class _Form:
    """The first file of a multipart form; other fields are passed over."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self.photo = bytearray()
        self._limits = limits
        self._name, self._value = bytearray(), bytearray()
        self._is_file = self._found = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }
        if not boundary:
            raise _damaged()
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _damaged() from None

    def _begin(self) -> None:
        self._is_file = False

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._is_file = b"filename" in parse_options_header(bytes(self._value))[1] and not self._found
        self._name.clear()
        self._value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.photo += data[start:end]
            if len(self.photo) > self._limits.max_bytes:
                raise too_large(self._limits)

    def _end(self) -> None:
        self._found = self._found or self._is_file


def _damaged() -> Refused:
    return Refused(400, "bad_form", "the form is damaged; send the photo as the body of the request instead")
