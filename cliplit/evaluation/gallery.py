"""The pictures of an evaluation: the worst photos first, then a fair spread of the others."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from cliplit.enhancer import Enhancer
from cliplit.evaluation import metrics
from cliplit.evaluation.heldout import DATASET, PAIRS
from cliplit.files import write_json
from cliplit.photos.codecs import save_jpeg

LONG_SIDE = 640
QUALITY = 82
WORST, SPREAD = 4, 6


@dataclass(frozen=True)
class Picture:
    """One photo of the gallery: files below artifacts/evaluation/photos, and why it is shown."""

    photo: str
    set: str
    worst: bool
    reason: str
    before: str
    after: str
    reference: str | None


def write_gallery(table: pd.DataFrame, enhancer: Enhancer, project: Path) -> None:
    """Write artifacts/evaluation/gallery.json and the pictures it names."""
    folder = project / "artifacts" / "evaluation"
    shutil.rmtree(folder / "photos", ignore_errors=True)
    pictures = [_write(row, worst, reason, enhancer, project) for row, worst, reason in chosen(table)]
    write_json(folder / "gallery.json", [asdict(picture) for picture in pictures])


def chosen(table: pd.DataFrame) -> list[tuple[pd.Series, bool, str]]:
    """Rows to show, each with whether it is among the worst of its set, and why it stands there."""
    result: list[tuple[pd.Series, bool, str]] = []
    rest: list[tuple[pd.Series, bool, str]] = []
    for name, part in table.groupby("set", sort=True):
        ordered = part.assign(rank=_rank(part, str(name))).sort_values(["rank", "photo"]).reset_index(drop=True)
        worst = min(WORST, (len(ordered) + 1) // 2)
        result += [(row, True, _reason(row)) for _, row in ordered.head(worst).iterrows()]
        if name != "well_lit":
            others = ordered.iloc[worst:]
            count = min(SPREAD if table["set"].eq("pairs").any() else 2 * SPREAD, len(others))
            places = [round((i + 0.5) * len(others) / count - 0.5) for i in range(count)]
            rest += [(others.iloc[place], False, _reason(others.iloc[place])) for place in places]
    return result + rest


def _rank(part: pd.DataFrame, name: str) -> pd.Series:
    """Low for what went badly: no gain against the reference, no gain of the criterion, a changed well-lit photo."""
    if name == "pairs":
        return part["psnr_ours"] - part["psnr_input"]
    return part["harm_psnr_db"] if name == "well_lit" else part["value_after"] - part["value_before"]


def _reason(row: pd.Series) -> str:
    if row["set"] == "pairs":
        gain = row["psnr_ours"] - row["psnr_input"]
        return f"{row['psnr_ours']:.1f} dB against the reference, {gain:+.1f} dB on the input"
    if row["set"] == "well_lit":
        return f"was well lit and should stay as it is: {row['harm_psnr_db']:.1f} dB from itself (30 dB is harmless)"
    gain = row["value_after"] - row["value_before"]
    parts = [f"criterion {gain:+.2f}", f"mean level {row['level_before']:.2f} to {row['level_after']:.2f}"]
    if row["structure"] < 0.95:
        parts.append(f"keeps {row['structure']:.0%} of its structure")
    if row["clipping_growth"] > 0.01:
        parts.append(f"{row['clipping_growth']:.0%} more is clipped")
    return ", ".join(parts)


def _write(row: pd.Series, worst: bool, reason: str, enhancer: Enhancer, project: Path) -> Picture:
    """Before, after and (for a pair) the reference as JPEGs."""
    photos = project / "artifacts" / "evaluation" / "photos"
    paired = row["set"] == "pairs"
    source = project / (PAIRS / "backlit" if paired else DATASET / "photos") / row["photo"]
    before = metrics.load(source, LONG_SIDE)
    images = {"before": before, "after": enhancer.enhance(before)}
    if paired:
        images["reference"] = metrics.load(project / PAIRS / "reference" / row["photo"], LONG_SIDE)
    names = {key: f"{_stem(row)}_{key}.jpg" for key in images}
    for key, image in images.items():
        save_jpeg(photos / names[key], image, quality=QUALITY)
    return Picture(
        str(row["photo"]), str(row["set"]), worst, reason, names["before"], names["after"], names.get("reference")
    )


def _stem(row: pd.Series) -> str:
    """A plain file name that no two photos of a set share."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(str(row["photo"])).stem)[:40].strip("-")
    return f"{row['set']}_{plain}_{hashlib.sha256(str(row['photo']).encode()).hexdigest()[:6]}"
