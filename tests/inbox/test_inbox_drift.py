"""Photos like those that were trained on pass; photos of another kind of light or of no thing at all warn."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner
from inbox_project import InboxProject, cheap, create

from assets.incoming import drift_checks
from cliplit.commands.photos import photos
from cliplit.config import load_params
from cliplit.inbox import drift
from cliplit.inbox.journal import Batch, Journal
from cliplit.photos.codecs import save_jpeg

_TRAINED = 24
_NEW = 6


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> InboxProject:
    """A project with a dataset of demo photos, as curate writes one."""
    project = create(tmp_path_factory.mktemp("drift") / "project")
    folder = project.path / "artifacts" / "dataset"
    rows = []
    for role in ("backlit", "well_lit"):
        for index in range(_TRAINED):
            name = f"{role}/{index}.jpg"
            save_jpeg(folder / "photos" / name, cheap(role, 50, index))
            rows.append({"photo": name, "role": role, "split": "train", "scene": name, "source": name, "sha256": name})
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return project


def night(index: int) -> np.ndarray:
    """A dark frame with a few lamps, which no training photo shows."""
    rng = np.random.default_rng(index)
    pixels = rng.integers(0, 6, (120, 160, 3))
    for _ in range(5):
        top, left = rng.integers(5, 110), rng.integers(5, 150)
        pixels[top : top + 4, left : left + 4] = (255, 220, 150)
    return pixels.astype(np.uint8)


def noise(index: int) -> np.ndarray:
    """Colour noise."""
    return np.random.default_rng(index).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def incoming(project: InboxProject, role: str, made: Callable[[int], np.ndarray]) -> Batch:
    """A batch of photos as an ingest would have closed it."""
    root = project.path / "data" / "photos" / role
    for path in root.glob("new_*"):
        path.unlink()
    for index in range(_NEW):
        save_jpeg(root / f"new_{index}.jpg", made(index))
        project.path.joinpath("data/ingested.jsonl").unlink(missing_ok=True)
    journal = Journal(project.path)
    from cliplit.inbox.journal import ADDED, Outcome

    for index in range(_NEW):
        to = f"data/photos/{role}/new_{index}.jpg"
        journal.note(Outcome(f"{role}/new_{index}.jpg", f"new{index}", ADDED, "it lay there", role, to))
    return journal.close({})


def checks(project: InboxProject) -> dict[str, dg.AssetCheckResult]:
    found = {}
    for definition in drift_checks(project.path):
        result = definition()
        assert isinstance(result, dg.AssetCheckResult)
        found[definition.check_key.name] = result
    return found


@pytest.mark.parametrize("role", ["backlit", "well_lit"])
def test_photos_of_the_same_kind_pass(curated: InboxProject, role: str) -> None:
    batch = incoming(curated, role, lambda index: cheap(role, 51, index))
    (found,) = drift.compare_batch(curated.path, batch)
    print(role, found.exposure.distance, found.exposure.threshold, found.features.distance, found.features.threshold)
    assert not found.exposure.drifted and not found.features.drifted
    assert all(result.passed for result in checks(curated).values())


@pytest.mark.parametrize(("role", "made"), [("well_lit", night), ("backlit", noise)])
def test_night_shots_and_noise_warn_with_a_picture_and_stop_nothing(
    curated: InboxProject, role: str, made: Callable[[int], np.ndarray]
) -> None:
    incoming(curated, role, made)
    found = checks(curated)
    assert len(found) == 2
    for result in found.values():
        assert not result.passed and result.severity == dg.AssetCheckSeverity.WARN
        assert f"incoming {role} photos are unlike the training set" in str(result.description)
        picture = result.metadata["picture"].value
        assert isinstance(picture, str) and picture.startswith("![preview](data:image/jpeg") and len(picture) < 100_000


@pytest.mark.parametrize("made", [noise, lambda index: cheap("backlit", 51, index)], ids=["noise", "alike"])
def test_the_command_warns_with_the_sentences_of_the_checks(
    curated: InboxProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[int], np.ndarray]
) -> None:
    shutil.copytree(curated.path, tmp_path / "project")
    project = InboxProject(tmp_path / "project")
    for left in [*project.path.glob("data/photos/*/new_*"), *project.path.glob("data/ingested.jsonl")]:
        left.unlink()  # by the tests before
    for index in range(_NEW):
        save_jpeg(project.path / "data" / "inbox" / "backlit" / f"{index}.jpg", made(index))
    monkeypatch.chdir(project.path)
    done = CliRunner().invoke(photos, ["ingest"], color=True)
    assert done.exit_code == 0 and f"took in {_NEW} backlit" in done.stdout
    told = [str(result.description) for result in checks(project).values() if not result.passed]
    assert len(told) == (2 if made is noise else 0)
    assert done.stderr.splitlines() == [f"\x1b[33mwarning: {sentence}\x1b[0m" for sentence in told]


def test_photos_of_the_other_role_warn_about_light(curated: InboxProject) -> None:
    batch = incoming(curated, "well_lit", lambda index: cheap("backlit", 51, index))
    (found,) = drift.compare_batch(curated.path, batch)
    assert found.exposure.drifted and found.features.drifted


def test_few_photos_and_no_dataset_are_not_judged(curated: InboxProject, project: InboxProject) -> None:
    batch = incoming(curated, "backlit", noise)
    few = Batch(1, batch.outcomes[:3], {})
    assert drift.compare_batch(curated.path, few) == []
    assert drift.compare_batch(project.path, batch) == []
    for result in checks(project).values():
        assert result.passed and result.description == "too few photos to compare"


def test_a_comparison_that_fails_is_a_warning(curated: InboxProject, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("sha256")

    monkeypatch.setattr(drift, "compare_batch", broken)
    incoming(curated, "backlit", noise)
    for result in checks(curated).values():
        assert not result.passed and result.severity == dg.AssetCheckSeverity.WARN


def test_distances_by_hand() -> None:
    dark, bright = np.zeros(drift.BINS), np.zeros(drift.BINS)
    dark[0], bright[-1] = 1.0, 1.0
    assert drift.wasserstein(dark, dark) == 0
    assert drift.wasserstein(dark, bright) == pytest.approx((drift.BINS - 1) / drift.BINS)
    cosine = np.array([[1.0, 0.5, 0.5, 0.5, 0.5, -1.0], [0.0] * 6])
    assert drift.neighbour_distance(cosine) == pytest.approx([1 - 3 / 5, 1])


def test_a_batch_of_the_training_set_itself_is_seldom_called_unlike_it(curated: InboxProject) -> None:
    """The bootstrap's promise, by simulation: false_alarm is 1 %; 200 draws may have a few."""
    params = load_params(curated.path / "params.yaml")
    rng = np.random.default_rng(0)
    histograms = rng.dirichlet(np.ones(drift.BINS), 60)
    features = rng.normal(size=(60, 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    def some(rows: np.ndarray) -> drift.Measured:
        names = tuple(map(str, rows))
        return drift.Measured(names, (), histograms[rows], features[rows], names)

    alarms = 0
    for _ in range(200):
        order = rng.permutation(60)
        found = drift.compare("backlit", some(order[:10]), some(order[10:]), params)
        alarms += found.exposure.drifted or found.features.drifted
    print(f"{alarms} false alarms in 200")
    assert alarms <= 12
