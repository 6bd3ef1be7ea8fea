"""The folders of raw photos, as observable source assets: Dagster sees when somebody added or removed one."""

from __future__ import annotations

import warnings
from pathlib import Path

import dagster as dg

from assets.previews import grid_preview
from assets.project import source_key
from cliplit.lineage import digests, graph
from cliplit.photos.codecs import list_photos

_DESCRIPTIONS = {
    "backlit": "Photos taken against the light, as they came: what the model learns to relight.",
    "well_lit": "Photos with good light, of anything: what good light looks like.",
    "pairs": "Test pairs, backlit and reference, never trained on; may be empty.",
}
_HOW = (
    "They lie in `{folder}`, under DVC. `cliplit photos import` and the inbox (the asset `incoming`) add some; "
    "*Observe* counts them, shows some, and takes their DVC md5 as the data version."
)


def source_assets(project: Path, found: tuple[graph.Stage, ...]) -> list[dg.AssetsDefinition]:
    """One observable source asset for each raw folder that a stage reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_source(project, path) for path in graph.raw_inputs(found)]


def _source(project: Path, path: str) -> dg.AssetsDefinition:
    key, told = source_key(path), _DESCRIPTIONS.get(Path(path).name, f"What lies in {path}.")
    spec = dg.AssetSpec(
        key,
        description=f"{told}\n\n{_HOW.format(folder=path)}",
        group_name="photos",
        owners=["team:cliplit"],
        kinds={"folder"},
        metadata={"folder": path},
    )

    # The decorator for one observable asset takes no owners; this one observes many, here one.
    @dg.multi_observable_source_asset(specs=[spec], name=key.to_python_identifier())
    def observe() -> dg.ObserveResult:
        return observe_folder(project, path)

    return observe


def observe_folder(project: Path, path: str) -> dg.ObserveResult:
    """The folder's DVC md5 as data version, so that it equals what dvc.lock says a stage has read."""
    folder = project / path
    if not folder.is_dir():
        return dg.ObserveResult(data_version=dg.DataVersion("none"), metadata={"photos": 0})
    photos = list_photos(folder)
    metadata: dict[str, dg.MetadataValue] = {
        "photos": dg.MetadataValue.int(len(photos)),
        "megabytes": dg.MetadataValue.float(round(sum(photo.stat().st_size for photo in photos) / 1e6, 3)),
    }
    preview = grid_preview(photos[:: max(1, len(photos) // 8)][:8])
    if preview:
        metadata["sample"] = preview
    return dg.ObserveResult(data_version=dg.DataVersion(digests.folder_md5(folder)), metadata=metadata)
