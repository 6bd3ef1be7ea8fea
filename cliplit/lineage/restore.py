"""A version's bytes on this machine; what is lost is written again from DVC's cache or remote, checked by its md5.

DVC's own checkout trusts its cache and takes seconds to start. Its layout of caches and remotes is documented, so the
cache and remotes that are folders are read directly; for the others `dvc fetch` is asked.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cliplit.errors import UserError
from cliplit.files import write_text
from cliplit.lineage import aliases, digests, dvc, packaging
from cliplit.lineage import mlflow_store as store

_OBJECTS = Path("files") / "md5"


def version_folder(client: Any, project: Path, found: Any) -> Path:
    """The version's folder on this machine, if its bytes have the md5 that DVC recorded.

    What is lost or changed is restored from DVC's cache or remote.
    """
    folder, md5 = _local_folder(client, project, found), found.tags["dvc.md5"]
    if folder.is_dir() and digests.path_md5(folder) == md5:
        return folder
    if restore_folder(project, md5, folder) and digests.path_md5(folder) == md5:
        return folder
    if not folder.is_dir():
        raise UserError(
            f"{folder}: the bytes of version {found.version} are gone, also from DVC's cache and remote; "
            "restore them or roll back"
        )
    raise UserError(
        f"{folder}: the bytes of version {found.version} are not those that DVC recorded ({md5}), and its cache and "
        "remote do not have them; restore them or use another version"
    )


def _local_folder(client: Any, project: Path, found: Any) -> Path:
    """Where the version's artifacts/model lies here; fetched once from a server, followed when the project moved."""
    source = client.get_model_version_download_uri(aliases.NAME, found.version)
    if urlsplit(source).scheme in {"", "file"}:
        folder = Path(unquote(urlsplit(source).path))
        if not folder.exists() and store.ARTIFACTS in folder.parts:
            tail = folder.parts[folder.parts.index(store.ARTIFACTS) + 1 :]
            folder = project / store.ARTIFACTS / Path(*tail)
        return folder / packaging.ARTIFACT
    cache = project / "work" / "models" / found.tags["dvc.md5"]
    if not (cache / packaging.ARTIFACT).exists():
        _download(f"{source}/{packaging.ARTIFACT}", cache / "artifacts", project)
    return cache / packaging.ARTIFACT


def _download(uri: str, target: Path, project: Path) -> None:
    """Fetch from the server; what it does not have any more, DVC may have."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    target.mkdir(parents=True, exist_ok=True)
    try:
        download_artifacts(artifact_uri=uri, dst_path=str(target), tracking_uri=store.tracking_uri(project))
    except (MlflowException, OSError) as error:
        store.log.warning("MLflow does not have %s: %s", uri, str(error).splitlines()[0][:200])


def restore_folder(project: Path, md5: str, target: Path) -> bool:
    """Write the folder of DVC md5 ``md5`` (it ends in ".dir") to ``target``, whole or not at all.

    False where neither the cache nor the remote has all of its bytes unharmed; ``target`` is then as it was.
    """
    settings = _settings(project)
    roots = [_cache(project, settings), *_folder_remotes(project, settings)]
    if _assemble(roots, md5, target):
        return True
    remote = settings.get("core", "remote", fallback="")
    if not remote or _as_folder(project, _url(settings, remote)) is not None:
        return False
    with tempfile.TemporaryDirectory(prefix="cliplit-") as name:
        return _fetch(project, md5, Path(name)) and _assemble([*roots, Path(name) / "cache"], md5, target)


def _assemble(roots: list[Path], md5: str, target: Path) -> bool:
    """Put the folder together beside ``target`` and swap it in; each object may come from another root."""
    listing = _object(roots, md5)
    if listing is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".restored-") as name:
        for entry in json.loads(listing):
            content = _object(roots, entry["md5"])
            if content is None:
                return False
            path = Path(name, "new", entry["relpath"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if target.exists():
            target.rename(Path(name, "old"))
        Path(name, "new").rename(target)
    return True


def _object(roots: list[Path], md5: str) -> bytes | None:
    """The bytes of an object from the first root that has them unharmed."""
    for root in roots:
        try:
            content = (root / _OBJECTS / md5[:2] / md5[2:]).read_bytes()
        except OSError:
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir"):
            return content
    return None


def _fetch(project: Path, md5: str, folder: Path) -> bool:
    """`dvc fetch` of one folder into ``folder``/cache, in a repository that has only this project's remotes."""
    settings = _settings(project)
    for section, key, value in (("core", "no_scm", "true"), ("cache", "dir", str(folder / "cache"))):
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, key, value)
    (folder / ".dvc").mkdir()
    with (folder / ".dvc" / "config").open("w", encoding="utf-8") as file:
        settings.write(file)
    write_text(folder / "kept.dvc", json.dumps({"outs": [{"md5": md5, "hash": "md5", "path": "kept"}]}))
    return dvc.run_dvc(folder, "fetch", "kept.dvc").returncode == 0


def _settings(project: Path) -> configparser.ConfigParser:
    """.dvc/config with what .dvc/config.local changes."""
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    settings.read([project / ".dvc" / "config", project / ".dvc" / "config.local"], encoding="utf-8")
    return settings


def _cache(project: Path, settings: configparser.ConfigParser) -> Path:
    return project / ".dvc" / settings.get("cache", "dir", fallback="cache")


def _folder_remotes(project: Path, settings: configparser.ConfigParser) -> list[Path]:
    """The default remote first."""
    default = settings.get("core", "remote", fallback="")
    sections = [name for name in settings.sections() if name.strip("'").startswith('remote "')]
    names = sorted((name.strip("'")[len('remote "') : -1] for name in sections), key=lambda name: name != default)
    folders = (_as_folder(project, _url(settings, name)) for name in names)
    return [folder for folder in folders if folder is not None]


def _url(settings: configparser.ConfigParser, remote: str) -> str:
    return settings.get(f"'remote \"{remote}\"'", "url", fallback="")


def _as_folder(project: Path, url: str) -> Path | None:
    """The folder that ``url`` is, or None for an address elsewhere; relative ones start at .dvc, as DVC writes them."""
    parts = urlsplit(url)
    if parts.scheme not in {"", "file"} or not parts.path:
        return None
    return project / ".dvc" / (unquote(parts.path) if parts.scheme else url)
