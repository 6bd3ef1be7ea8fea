"""Writing films: relit frames encoded, all other streams copied as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream
from av.video.frame import VideoFrame

from cliplit.video.reading import Film, Step, VideoError, is_cover

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_RGB_MATRIX = 0


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders: its pixel formats of 8 and 10 bits (None: it has none), quality and settings.

    ``crf`` is what is passed where the user names none; smaller is better and larger a file.
    """

    name: str
    eight: str | None
    ten: str | None
    crf: int
    options: tuple[tuple[str, str], ...] = ()
    tag: str | None = None


_X264 = Encoder("libx264", "yuv420p", None, 20, (("preset", "veryfast"),))
_X265 = Encoder(
    "libx265", None, "yuv420p10le", 22, (("preset", "superfast"), ("x265-params", "log-level=error")), "hvc1"
)
_OPENH264 = Encoder("libopenh264", "yuv420p", None, 24)
_AV1 = Encoder("libsvtav1", "yuv420p", "yuv420p10le", 30, (("preset", "10"), ("svtav1-params", "verbose=0")))
_VP9 = Encoder(
    "libvpx-vp9", "yuv420p", None, 31, (("deadline", "realtime"), ("cpu-used", "6"), ("row-mt", "1"), ("b", "0"))
)
_MPEG4 = Encoder("mpeg4", "yuv420p", None, 3)
#: In the order in which they are tried. x264 and x265 are under the GPL; an FFmpeg built without them has the next.
ENCODERS = {
    8: (_X264, _OPENH264, _AV1, _VP9, _MPEG4),
    10: (_X265, _AV1, _X264, _OPENH264, _VP9, _MPEG4),
}
_OF_WEBM = ("libsvtav1", "libvpx-vp9")


class FilmWriter:
    """Writes one film's frames and packets; ``notes`` says in sentences what could not be kept."""

    def __init__(self, film: Film, path: Path, container: OutputContainer, crf: int | None) -> None:
        self.film, self.container = film, container
        self.notes: list[str] = []
        self.encoder = pick_encoder(film.bits, CONTAINERS[path.suffix.lower()], path)
        self.pixel_format = cast(str, (film.bits == 10 and self.encoder.ten) or self.encoder.eight or self.encoder.ten)
        # 4:2:0 has one colour for two by two pixels: an odd side is continued by its last row or column.
        self.width, self.height = film.width + film.width % 2, film.height + film.height % 2
        self._matrix = film.colour.reading
        self.video = self._video_stream(crf)
        self._copies = {stream.index: copy for stream in film.others if (copy := self._copy(stream, path)) is not None}
        container.metadata.update({key: value for key, value in film.container.metadata.items() if key != "encoder"})
        if film.container.chapters():
            container.set_chapters(film.container.chapters())

    def write(self, step: Step, pixels: np.ndarray | None) -> None:
        """Copy the step's packets and encode its relit ``pixels``."""
        for packet in step.packets:
            self._pass_on(packet)
        if pixels is not None:
            self.container.mux(self.video.encode(self._frame(step, pixels)))

    def finish(self) -> None:
        """Encode what is left."""
        self.container.mux(self.video.encode(None))

    def _video_stream(self, crf: int | None) -> Any:
        film, encoder = self.film, self.encoder
        options = dict(encoder.options) | {"flags": "+frame_duration"}
        options |= {"qscale": str(crf or encoder.crf)} if encoder.name == "mpeg4" else {"crf": str(crf or encoder.crf)}
        stream = self.container.add_stream(encoder.name, rate=film.rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.pixel_format
        context = stream.codec_context
        stream.time_base = context.time_base = film.time_base
        context.thread_type = "AUTO"
        colour = film.colour
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.colorspace = 2 if colour.matrix == _RGB_MATRIX else colour.matrix
        context.color_range = 2 if colour.full_range else 1
        if film.pixel_shape:
            context.sample_aspect_ratio = film.pixel_shape
        if encoder.tag and self.container.format.name in ("mp4", "mov"):
            context.codec_tag = encoder.tag
        stream.metadata.update(_kept(film.video))
        stream.disposition = film.video.disposition
        return stream

    def _copy(self, stream: Stream, path: Path) -> Stream | None:
        """A stream of the output that holds what ``stream`` does; None, with a note, for what nobody watches."""
        kind = stream.type
        if isinstance(stream, AttachmentStream):
            if self.container.format.name == "matroska":
                self.container.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)
            else:
                self.notes.append(f"an attached file ({stream.name}) is left out; .mkv keeps it")
            return None
        name = stream.codec_context.name if stream.codec_context is not None else None
        if kind == "data" or name is None or (kind == "video" and not is_cover(stream)):
            if not (kind == "data" and self.film.container.chapters()):  # MP4 keeps the names of chapters in a stream
                self.notes.append(f"stream {stream.index} ({name or kind}) is left out")
            return None
        if name not in self.container.supported_codecs:
            what = {"audio": "sound", "subtitle": "subtitles"}.get(kind, kind)
            raise VideoError(path, f"{path.suffix} cannot hold this film's {what} ({name}); name an output in .mkv")
        copy = self.container.add_stream_from_template(stream)
        copy.metadata.update(_kept(stream))
        copy.disposition = stream.disposition
        return copy

    def _pass_on(self, packet: Packet[Stream]) -> None:
        copy = self._copies.get(packet.stream.index)
        if copy is not None:
            packet.stream = copy
            self.container.mux(packet)

    def _frame(self, step: Step, pixels: np.ndarray) -> VideoFrame:
        if pixels.shape[:2] != (self.height, self.width):
            more = (0, self.height - pixels.shape[0]), (0, self.width - pixels.shape[1]), (0, 0)
            pixels = np.pad(pixels, more, mode="edge")
        source = VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
        frame = source.reformat(
            format=self.pixel_format,
            src_color_range=2,
            dst_colorspace=self._matrix,
            dst_color_range=2 if self.film.colour.full_range else 1,
        )
        frame.color_primaries, frame.color_trc = self.film.colour.primaries, self.film.colour.transfer
        frame.colorspace = self.video.codec_context.colorspace
        frame.pts, frame.time_base, frame.duration = step.pts, self.film.time_base, step.duration
        return frame


def pick_encoder(bits: int, container: str, path: Path) -> Encoder:
    """The first encoder that this FFmpeg has for films of ``bits`` in ``container``; raises VideoError."""
    for encoder in ENCODERS[bits]:
        if container == "webm" and encoder.name not in _OF_WEBM:
            continue
        if encoder is _X264 and bits == 10:
            return encoder if has(encoder.name) else pick_encoder(8, container, path)
        if has(encoder.name):
            return encoder
    raise VideoError(
        path, "the installed PyAV has no encoder for such a file; reinstall it: pip install --force-reinstall av"
    )


def has(encoder: str) -> bool:
    """Whether the installed PyAV brings ``encoder``."""
    try:
        av.Codec(encoder, "w")
    except ValueError:
        return False
    return True


@contextmanager
def write_film(film: Film, path: Path, temporary: Path, crf: int | None = None) -> Iterator[FilmWriter]:
    """Write into ``temporary`` what shall become ``path``; raises VideoError, and OSError where the disk is full."""
    kind = CONTAINERS[path.suffix.lower()]
    options = {"movflags": "+faststart+use_metadata_tags"} if kind in ("mp4", "mov") else {}
    try:
        with av.open(f"file:{temporary}", "w", format=kind, container_options=options) as container:
            writer = FilmWriter(film, path, container, crf)
            yield writer
            writer.finish()
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in (28, 122):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise VideoError(path, f"not written ({error.strerror}); try another ending, .mkv takes most") from None


def _kept(stream: Stream) -> dict[str, str]:
    """A stream's own words, without what a muxer or encoder writes about itself."""
    gone = ("encoder", "duration", "rotate", "bps", "number_of", "_statistics", "vendor_id", "handler_name")
    return {key: value for key, value in stream.metadata.items() if not key.lower().startswith(gone)}
