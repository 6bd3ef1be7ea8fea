"""Reading films: frames as upright RGB with their times, everything else as packets to hand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cliplit.errors import UserError

#: Containers that are tried. Playlists and the like are not: they name other files, and hosts, to read.
FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,h264,hevc"
SMALL = 256  # px, the longer side of the thumbnails that light is predicted from
_PQ = 16  # transfer characteristics of HDR10 and Dolby Vision films, ITU-T H.273
_MATRICES = {1: "itu709", 4: "fcc", 5: "itu601", 6: "itu601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_FULL_RANGE = 2
_TURNS = {90: ("cclock",), 270: ("clock",), 180: ("clock", "clock")}


class VideoError(UserError):
    """A film cannot be read or written: one sentence that names the file."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True)
class Colour:
    """A film's colour tags, as numbers of ITU-T H.273 (2: not said), and the matrix that its numbers are read with."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool
    reading: str


@dataclass(frozen=True)
class Step:
    """One frame (pixels H x W x 3 uint8 or uint16, a small copy in uint8, its time) and the packets that came before.

    The last step of a film has packets only.
    """

    pixels: np.ndarray | None
    small: np.ndarray | None
    pts: int
    duration: int
    time: float
    packets: tuple[Packet[Stream], ...]


class Film:
    """An opened film. ``width`` and ``height`` are upright; ``bits`` is 8 or 10; ``rotation`` is what was turned."""

    def __init__(self, path: Path, container: InputContainer) -> None:
        self.path, self.container = path, container
        self.video = _main_video(path, container)
        self.others = [stream for stream in container.streams if stream is not self.video]
        context = self.video.codec_context
        context.thread_type = "AUTO"
        self.damaged = 0
        self._first: list[VideoFrame] = []
        self._packets: list[Packet[Stream]] = []
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise VideoError(path, "no frame of it can be decoded; copy it again from its source")
        self._first.append(first)
        self._turn: _Turn | None = None
        self.rotation = first.rotation % 360
        sideways = self.rotation in (90, 270)
        self.width, self.height = (first.height, first.width) if sideways else (first.width, first.height)
        self._coded = first.width, first.height
        self.bits = 10 if first.format.components[0].bits > 8 else 8
        self.colour = _colour(path, first, self.height)
        self.time_base = self.video.time_base or Fraction(1, 90000)
        self.rate = self.video.average_rate or self.video.guessed_rate or Fraction(25)
        shape = context.sample_aspect_ratio
        self.pixel_shape = 1 / shape if shape and sideways else shape

    @property
    def duration(self) -> float | None:
        """Seconds, as the file says; None where it does not."""
        return self.container.duration / av.time_base if self.container.duration else None

    @property
    def frames(self) -> int | None:
        """About how many frames there are; None where that cannot be told."""
        return self.video.frames or (round(self.duration * self.rate) if self.duration else None)

    def steps(self, max_seconds: float | None = None) -> Iterator[Step]:
        """Frames in the order in which they are shown, times rising; raises VideoError where the film breaks off."""
        start: float | None = None
        before: int | None = None
        for frame in self._all_frames():
            pts = frame.pts if frame.pts is not None else (before or 0) + round(1 / (self.rate * self.time_base))
            pts = pts if before is None else max(pts, before + 1)
            time = float(pts * self.time_base)
            start, before = time if start is None else start, pts
            if max_seconds is not None and time - start >= max_seconds:
                yield Step(None, None, 0, 0, time, self._taken(time))
                return
            pixels, small = self._pixels(frame)
            yield Step(pixels, small, pts, frame.duration, time, self._taken())
        self._refuse_broken_off()
        yield Step(None, None, 0, 0, 0.0, self._taken())

    def _all_frames(self) -> Iterator[VideoFrame]:
        yield self._first.pop()
        yield from self._frames

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            for packet in self.container.demux():
                if packet.stream is not self.video:
                    if packet.dts is not None or packet.pts is not None:
                        self._packets.append(packet)
                    continue
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    self.damaged += 1
                    continue
                for frame in decoded:
                    assert isinstance(frame, VideoFrame)
                    self.damaged += frame.is_corrupt
                    yield frame
        except av.error.FFmpegError as error:
            raise VideoError(self.path, f"damaged or truncated ({error.strerror}); copy it again") from None

    def _taken(self, until: float | None = None) -> tuple[Packet[Stream], ...]:
        packets, self._packets = self._packets, []
        if until is not None:
            packets = [packet for packet in packets if float((packet.pts or 0) * packet.time_base) < until]
        return tuple(packets)

    def _pixels(self, frame: VideoFrame) -> tuple[np.ndarray, np.ndarray]:
        if (frame.width, frame.height) != self._coded:
            frame = frame.reformat(width=self._coded[0], height=self._coded[1])
        if self.rotation in _TURNS:
            if self._turn is None or not self._turn.fits(frame):
                self._turn = _Turn(frame, self.time_base, _TURNS[self.rotation])
            frame = self._turn(frame)
        how: dict[str, Any] = {
            "src_colorspace": self.colour.reading,
            "src_color_range": _FULL_RANGE if self.colour.full_range else 1,
            "dst_color_range": _FULL_RANGE,
        }
        scale = min(1.0, SMALL / max(frame.width, frame.height))
        size: dict[str, Any] = {
            "width": max(1, round(frame.width * scale)),
            "height": max(1, round(frame.height * scale)),
        }
        small = frame.reformat(format="rgb24", interpolation="AREA", **size, **how).to_ndarray()
        pixels = frame.reformat(format="rgb24" if self.bits == 8 else "rgb48le", **how).to_ndarray()
        return pixels, small

    def _refuse_broken_off(self) -> None:
        """A file that ends early still decodes up to there; what it says of itself tells."""
        size = self.path.stat().st_size
        missing = any(entry.pos + entry.size > size for entry in self.video.index_entries)
        if missing:
            raise VideoError(self.path, "the file ends before its last frame; copy it again from its source")


class _Turn:
    """Turns frames upright, before they become RGB: that is a third of the memory."""

    def __init__(self, frame: VideoFrame, time_base: Fraction, turns: tuple[str, ...]) -> None:
        self._shape = frame.width, frame.height, frame.format.name
        self._graph = av.filter.Graph()
        nodes = [
            self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
        ]
        nodes += [self._graph.add("transpose", f"dir={turn}") for turn in turns]
        nodes.append(self._graph.add("buffersink"))
        for one, next_one in zip(nodes, nodes[1:], strict=False):
            one.link_to(next_one)
        self._graph.configure()

    def fits(self, frame: VideoFrame) -> bool:
        return (frame.width, frame.height, frame.format.name) == self._shape

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        self._graph.push(frame)
        turned = self._graph.pull()
        assert isinstance(turned, VideoFrame)
        return turned


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """Open the film in ``path``; raises VideoError with one sentence for whatever is none."""
    if not path.is_file():
        raise VideoError(path, "this is not a file" if path.exists() else "there is no such file; check the name")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes); copy it again from its source")
    limits = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        container = av.open(f"file:{path}", "r", container_options=limits, metadata_errors="replace")
    except PermissionError:
        raise VideoError(path, "reading it is not allowed; change its permissions") from None
    except (av.error.FFmpegError, ValueError):
        raise VideoError(path, "not a film that cliplit reads (mp4, mov, mkv, webm, avi, ts), or damaged") from None
    with container:
        yield Film(path, container)


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a still: the picture of an album, not a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _main_video(path: Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not is_cover(stream):
            if stream.codec_context is None:
                raise VideoError(path, "its video is coded in a way that this cliplit cannot decode; convert it first")
            return stream
    raise VideoError(path, "there is no video in it; name a film, or use cliplit enhance for photos")


def _colour(path: Path, frame: VideoFrame, height: int) -> Colour:
    if frame.color_trc == _PQ:
        raise VideoError(path, "an HDR film in PQ, which cliplit would make too bright; convert it to SDR or HLG first")
    guess = "itu709" if height >= 720 else "itu601"  # as players read films that do not say
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith(("yuvj", "rgb", "bgr", "gbr"))
    matrix = int(frame.colorspace)
    return Colour(int(frame.color_primaries), int(frame.color_trc), matrix, full, _MATRICES.get(matrix, guess))
