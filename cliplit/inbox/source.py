"""The inbox: a folder or a bucket, by fsspec, where photos arrive in backlit/, well_lit/ and unsorted/."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from cliplit.config import InboxConfig
from cliplit.errors import ConfigError, UserError

FOLDERS = ("backlit", "well_lit", "unsorted")
DONE = "done"
_CHUNK = 1 << 20
_NO_PHOTOS = {"thumbs.db", "desktop.ini"}
_HALF_COPIED = {".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart"}
_STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "created")


@dataclass(frozen=True)
class Arrived:
    """A file of the inbox: its folder, its name below it, bytes, and what the storage says when it is written anew."""

    folder: str
    name: str
    size: int
    stamp: str

    @property
    def source(self) -> str:
        """Where it lies below the inbox."""
        return f"{self.folder}/{self.name}"


class Inbox:
    """The inbox at ``root`` of a file system; nothing in it changes but by ``finish``."""

    def __init__(self, system: Any, root: str, shown: str) -> None:
        self._system = system
        self._root = root.rstrip("/")
        self._shown = shown

    @classmethod
    def open(cls, config: InboxConfig, project: Path) -> Inbox:
        """The inbox of params.yaml, a plain path being one below ``project``; raises ConfigError with the fix."""
        address = config.path if "://" in config.path else (project / config.path).resolve().as_posix()
        try:
            system, root = fsspec.core.url_to_fs(address, **config.options)
        except (ValueError, ImportError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"params.yaml: key 'inbox.path' is '{config.path}', which cannot be opened ({reason}); install what it "
                "names, or correct the address or 'inbox.options'"
            ) from None
        return cls(system, root, config.path)

    def make_folders(self) -> None:
        """Make a local inbox's folders, so that people see where photos belong; buckets need none."""
        if "file" in _protocols(self._system):
            with self._told("made"):
                for folder in FOLDERS:
                    self._system.makedirs(f"{self._root}/{folder}", exist_ok=True)

    def files(self) -> list[Arrived]:
        """All files but hidden ones and those that a program names as unfinished; raises UserError."""
        self._system.invalidate_cache()
        found = []
        with self._told("listed"):
            for folder in FOLDERS:
                base = f"{self._root}/{folder}"
                for path, info in self._system.find(base, detail=True).items():
                    name = path.split(f"{base.lstrip('/')}/", 1)[-1]
                    if not _ignored(name):
                        found.append(Arrived(folder, name, int(info["size"]), _stamp(info)))
        return sorted(found, key=lambda file: file.source)

    def sha256(self, file: Arrived, copy: BinaryIO | None = None) -> str | None:
        """Hex SHA-256 of the file, which is written to ``copy`` meanwhile; None when it is gone or its size changed."""
        digest, size = hashlib.sha256(), 0
        try:
            with self._told("read"), self._system.open(f"{self._root}/{file.source}", "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if copy is not None:
                        copy.write(chunk)
        except FileNotFoundError:
            return None
        return digest.hexdigest() if size == file.size else None

    def finish(self, file: Arrived, after: str, sha256: str) -> None:
        """Move the file to done/, or delete it; one that was written anew since it was listed stays, it is another."""
        path = f"{self._root}/{file.source}"
        with self._told("emptied"):
            self._system.invalidate_cache()
            if not self._system.exists(path):
                return
            info = self._system.info(path)
            if (info["size"], _stamp(info)) != (file.size, file.stamp):
                return
            if after == "delete":
                self._system.rm_file(path)
                return
            target = f"{self._root}/{DONE}/{file.source}"
            if self._system.exists(target):
                pure = PurePosixPath(target)
                target = pure.with_name(f"{pure.stem}-{sha256[:10]}{pure.suffix}").as_posix()
            self._system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self._system.mv(path, target)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Whatever a storage raises, but for a missing file, as one sentence."""
        try:
            yield
        except FileNotFoundError:
            if what == "read":
                raise
            raise UserError(
                f"{self._shown}: there is no such inbox; make it, or correct the key 'inbox.path'"
            ) from None
        except UserError:
            raise
        except Exception as error:  # fsspec's storages raise their own kinds
            detail = " ".join(str(error).split()) or type(error).__name__
            advice = "check its address, the network and the permissions"
            raise UserError(f"{self._shown}: the inbox cannot be {what} ({detail}); {advice}") from None


def _stamp(info: dict[str, Any]) -> str:
    """What changes when a file is written anew; storages tell times as datetime or as seconds, one of them as both."""
    values = [info[key] for key in _STAMPS if info.get(key) is not None]
    return "|".join(str(value.timestamp() if isinstance(value, datetime) else value) for value in values)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _ignored(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "~")) for part in path.parts)
    return hidden or path.name.lower() in _NO_PHOTOS or path.suffix.lower() in _HALF_COPIED
