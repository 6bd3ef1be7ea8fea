"""The curate stage: raw photos in data/photos become artifacts/dataset, what is left out is named with its reason."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cliplit.config import Params
from cliplit.errors import UserError
from cliplit.files import write_json, write_text
from cliplit.photos.codecs import list_files, read_photo
from cliplit.photos.hashing import bracket_names, close_pairs, connected, seeded_fraction
from cliplit.photos.importing import PAIR_SIDES, PHOTO_ROOT, ROLES
from cliplit.photos.inspection import Inspected, inspect_photos
from cliplit.photos.sheet import contact_sheet

DATASET = Path("artifacts/dataset")
METRICS = Path("artifacts/metrics/dataset.json")
MANIFEST_COLUMNS = ["photo", "role", "split", "scene", "source", "sha256", "width", "height", "mean_level"]
MIN_TRAIN = 4
MIN_VALIDATION = 2
# Measured on real photos: no backlit one has its 25th percentile above 0.16, no well-lit one a mean below 0.31.
BRIGHT_SHADOWS = 0.22
DARK_MEAN = 0.27
SAME_EXPOSURE = 0.02

Rejections = dict[str, str]


def run(params: Params, project: Path) -> None:
    """Curate ``project``'s photos; raises UserError naming the folder when they cannot make a dataset."""
    staging = project / "work" / "curate" / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        found = {role: _files(project, role) for role in ROLES}
        photos, rejected = inspect_photos(project, found, staging, params.curate.long_side)
        pairs, broken = _inspect_pairs(project, params.curate.long_side)
        rejected |= broken
        kept = _without_repeats(photos, pairs, params.curate.duplicate_bits, rejected)
        suspects = _suspects(kept)
        for role in ROLES:
            _require_enough(role, [photo for photo in kept if photo.role == role], len(found[role]), suspects)
        manifest = _manifest(kept, params)
        for photo in photos:
            if photo.source in rejected:
                (staging / "photos" / photo.photo).unlink()
        _write(staging, manifest, rejected, suspects)
        _publish(staging, project / DATASET)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_json(project / METRICS, _metrics(manifest, rejected, suspects, len(pairs) // 2))
    print(_sentence(manifest, rejected, suspects))


def load_manifest(project: Path = Path()) -> pd.DataFrame:
    """The manifest of the curated dataset, one row a photo; raises UserError when there is none."""
    path = project / DATASET / "manifest.csv"
    if not path.exists():
        raise UserError(f"{path}: there is no dataset yet; run the curate stage first")
    return pd.read_csv(path, dtype={"scene": str, "photo": str, "source": str})


def load_pixels(project: Path, photo_ids: Iterable[str]) -> list[NDArray[np.uint8]]:
    """The normalised photos of the manifest ids ``photo_ids``, in order: sRGB uint8 HxWx3."""
    return [read_photo(project / DATASET / "photos" / photo).pixels for photo in photo_ids]


def _files(project: Path, role: str) -> list[Path]:
    folder = project / PHOTO_ROOT / role
    files = list_files(folder) if folder.is_dir() else []
    if not files:
        state = "is empty" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{PHOTO_ROOT / role}: the folder {state}; run 'cliplit photos import' or 'cliplit photos demo'"
        )
    return files


def _inspect_pairs(project: Path, long_side: int) -> tuple[list[Inspected], Rejections]:
    """All complete evaluation pairs, and why the other files in data/photos/pairs are not used."""
    root = project / PHOTO_ROOT / "pairs"
    found = {f"pairs/{side}": list_files(root / side) for side in PAIR_SIDES}
    photos, rejected = inspect_photos(project, found, None, long_side)
    names = Counter(Path(photo.source).name for photo in photos)
    for photo in photos:
        if names[Path(photo.source).name] != len(PAIR_SIDES):
            rejected[photo.source] = "the other photo of this pair is missing or unreadable"
    sizes = {photo.source: (photo.width, photo.height) for photo in photos if photo.source not in rejected}
    for source, (width, height) in sizes.items():
        other = next(twin for twin in sizes if twin != source and Path(twin).name == Path(source).name)
        if sizes[other] != (width, height):
            rejected[source] = f"its size {width}x{height} differs from that of {other}"
    return [photo for photo in photos if photo.source not in rejected], rejected


def _without_repeats(
    photos: list[Inspected], pairs: list[Inspected], bits: int, rejected: Rejections
) -> list[Inspected]:
    """Photos left after those in both roles, those that show an evaluation pair, and duplicates within a role."""
    roles = {role: [photo for photo in photos if photo.role == role] for role in ROLES}
    backlit, well_lit = (roles[role] for role in ROLES)
    links = close_pairs([photo.hash for photo in backlit], [photo.hash for photo in well_lit], bits)
    twins = [(backlit[i], well_lit[j]) for i, j in links if _same_photo(backlit[i], well_lit[j])]
    both = {photo.source for twin in twins for photo in twin}
    smaller = min(ROLES, key=lambda role: len(roles[role]))
    shared = sum(photo.source in both for photo in roles[smaller])
    if shared and 2 * shared >= len(roles[smaller]):
        raise UserError(
            f"{PHOTO_ROOT}/backlit and {PHOTO_ROOT}/well_lit hold the same photos ({shared} of {len(roles[smaller])}); "
            "leave each photo only in the folder where it belongs"
        )
    for one, other in twins:
        rejected.setdefault(one.source, f"the same photo stands in both roles, as {other.source}")
        rejected.setdefault(other.source, f"the same photo stands in both roles, as {one.source}")
    names = bracket_names(Path(photo.source).stem for photo in [*photos, *pairs])
    tested = {names[stem]: photo for photo in pairs if (stem := Path(photo.source).stem) in names}
    for i, j in close_pairs([photo.hash for photo in photos], [photo.hash for photo in pairs], bits):
        rejected.setdefault(photos[i].source, f"shows the scene of the evaluation pair {Path(pairs[j].source).name}")
    for photo in photos:
        name = names.get(Path(photo.source).stem)
        if name in tested:
            reason = f"shows the scene of the evaluation pair {Path(tested[name].source).name}, says its name"
            rejected.setdefault(photo.source, reason)
    for role in ROLES:
        _reject_duplicates([photo for photo in roles[role] if photo.source not in rejected], bits, rejected)
    return [photo for photo in photos if photo.source not in rejected]


def _same_photo(one: Inspected, other: Inspected) -> bool:
    """Whether two photos of close hashes are one photo, rather than two exposures of one scene."""
    return one.sha256 == other.sha256 or abs(one.mean_level - other.mean_level) < SAME_EXPOSURE


def _reject_duplicates(photos: list[Inspected], bits: int, rejected: Rejections) -> None:
    """Of photos that look the same, the first stays."""
    hashes = [photo.hash for photo in photos]
    for i, j in close_pairs(hashes, hashes, bits):
        if i < j and photos[i].source not in rejected:
            rejected.setdefault(photos[j].source, f"duplicate of {photos[i].source}")


def _suspects(photos: list[Inspected]) -> Rejections:
    """Photos that look like the other role; they stay, people should look at them."""
    suspects = {}
    for photo in photos:
        if photo.role == "backlit" and photo.shadow_level > BRIGHT_SHADOWS:
            suspects[photo.source] = "no dark part, bright for a backlit photo"
        if photo.role == "well_lit" and photo.mean_level < DARK_MEAN:
            suspects[photo.source] = "dark for a well-lit photo"
    return suspects


def _require_enough(role: str, kept: list[Inspected], found: int, suspects: Rejections) -> None:
    """Raise UserError unless ``kept`` can be split and looks like its role."""
    folder = PHOTO_ROOT / role
    needed = MIN_TRAIN + MIN_VALIDATION
    if len(kept) < needed:
        raise UserError(
            f"{folder}: {len(kept)} of its {found} photos can be used, at least {needed} are needed; "
            "add photos of other scenes"
        )
    doubtful = sum(photo.source in suspects for photo in kept)
    if 2 * doubtful > len(kept):
        look = "have no dark part" if role == "backlit" else "are dark"
        raise UserError(
            f"{folder}: {doubtful} of {len(kept)} photos {look}; put {role.replace('_', '-')} photos there, "
            "perhaps the two folders were exchanged"
        )


def _manifest(photos: list[Inspected], params: Params) -> pd.DataFrame:
    """One row a photo, sorted by id, with its scene and split; raises UserError when a role cannot be split."""
    scenes = _scenes(photos, params.curate.duplicate_bits)
    order = sorted(set(scenes), key=lambda scene: (seeded_fraction(params.seed, scene), scene))
    held_out = {s for s in order if seeded_fraction(params.seed, s) < params.curate.validation_fraction}
    counts = {role: Counter(s for photo, s in zip(photos, scenes, strict=True) if photo.role == role) for role in ROLES}
    for role in ROLES:
        for scene in (scene for scene in order if counts[role][scene]):
            if sum(counts[role][s] for s in held_out) < MIN_VALIDATION:
                held_out.add(scene)
    for role in ROLES:  # a small dataset can lose too much to chance; the other role keeps its minimum
        for scene in reversed([scene for scene in order if scene in held_out and counts[role][scene]]):
            rest = held_out - {scene}
            train = sum(count for s, count in counts[role].items() if s not in held_out)
            if train < MIN_TRAIN and all(sum(counts[r][s] for s in rest) >= MIN_VALIDATION for r in ROLES):
                held_out = rest
        if sum(count for s, count in counts[role].items() if s not in held_out) < MIN_TRAIN:
            raise UserError(
                f"{PHOTO_ROOT / role}: its photos show {len(counts[role])} scenes, too few to hold some out and train "
                f"on {MIN_TRAIN} photos of others; add photos of other scenes"
            )
    rows = [
        (p.photo, p.role, "val" if s in held_out else "train", s, p.source, p.sha256, p.width, p.height, p.mean_level)
        for p, s in zip(photos, scenes, strict=True)
    ]
    return pd.DataFrame(sorted(rows), columns=MANIFEST_COLUMNS)


def _scenes(photos: list[Inspected], bits: int) -> list[str]:
    """A scene id for each photo: photos of close hashes, or of one exposure bracket by name, share it."""
    names = bracket_names(Path(photo.source).stem for photo in photos)
    own = [names.get(Path(photo.source).stem, Path(photo.photo).with_suffix("").as_posix()) for photo in photos]
    hashes = [photo.hash for photo in photos]
    links = [(i, j) for i, j in close_pairs(hashes, hashes, bits) if i < j]
    first: dict[str, int] = {}
    links += [(first.setdefault(name, index), index) for index, name in enumerate(own)]
    groups = connected(len(photos), links)
    smallest: dict[int, str] = {}
    for group, name in zip(groups, own, strict=True):
        smallest[group] = min(name, smallest.get(group, name))
    return [smallest[group] for group in groups]


def _write(staging: Path, manifest: pd.DataFrame, rejected: Rejections, suspects: Rejections) -> None:
    write_text(staging / "manifest.csv", manifest.to_csv(index=False, lineterminator="\n", float_format="%.6f"))
    rows = [(source, reason, "rejected") for source, reason in rejected.items()]
    rows += [(source, reason, "suspect") for source, reason in suspects.items()]
    table = pd.DataFrame(sorted(rows), columns=["source", "reason", "kind"])
    write_text(staging / "rejected.csv", table.to_csv(index=False, lineterminator="\n"))
    contact_sheet(manifest, staging / "photos", staging / "contact_sheet.jpg")


def _publish(staging: Path, target: Path) -> None:
    """Swap the finished dataset in; a kill leaves the earlier one, none, or this one, never half of one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = staging.with_name("replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _metrics(manifest: pd.DataFrame, rejected: Rejections, suspects: Rejections, pairs: int) -> dict[str, float]:
    reasons = list(rejected.values())
    metrics: dict[str, float] = {
        "rejected": len(rejected),
        "duplicates": sum(reason.startswith("duplicate of") for reason in reasons),
        "in_both_roles": sum(reason.startswith("the same photo") for reason in reasons),
        "scenes_of_pairs": sum(reason.startswith("shows the scene") for reason in reasons),
        "scenes": int(manifest["scene"].nunique()),
        "pairs": pairs,
    }
    metrics["unreadable"] = metrics["rejected"] - sum(
        metrics[key] for key in ("duplicates", "in_both_roles", "scenes_of_pairs")
    )
    for role in ROLES:
        of_role = manifest[manifest["role"] == role]
        for split in ("train", "val"):
            metrics[f"{role}_{split}"] = int((of_role["split"] == split).sum())
        metrics[f"{role}_mean_level"] = round(float(of_role["mean_level"].mean()), 6)
        metrics[f"{role}_suspects"] = sum(source.startswith(f"{role}/") for source in suspects)
    return metrics


def _sentence(manifest: pd.DataFrame, rejected: Rejections, suspects: Rejections) -> str:
    counts = manifest.groupby(["role", "split"]).size()
    kept = ", ".join(f"{role} {counts[role, 'train']} train + {counts[role, 'val']} val" for role in ROLES)
    left_out = f"{len(rejected)} rejected, {len(suspects)} suspect, each named in {DATASET}/rejected.csv"
    return f"curated: {kept}; {left_out}"
