"""What one request may ask for, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass

POLL_SECONDS = 15.0  # between two looks whether another champion reigns


@dataclass(frozen=True)
class Limits:
    """Bounds of a server that strangers' photos come to."""

    max_bytes: int = 32 * 2**20  # of one photo file
    max_pixels: int = 50_000_000
    concurrency: int = 8  # photos in the server at once, being received ones included
    timeout: float = 60.0  # s from a request's first byte to its answer
    max_strength: float = 2.0


class Refused(Exception):
    """A request that is not served: an HTTP status, a reason to count it by, and one sentence for whoever sent it."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.sentence = sentence


def too_large(limits: Limits) -> Refused:
    """The answer to more bytes than ``limits`` allow."""
    return Refused(413, "too_large", f"the photo is larger than {size(limits.max_bytes)}; send a smaller file")


def size(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count / 2**20:.3g} MiB" if count >= 2**20 else f"{count} bytes"
