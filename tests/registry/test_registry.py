"""Challenger, champion, previous: with a real MLflow registry in a temporary folder."""

from __future__ import annotations

import base64
import io
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cliplit.errors import UserError
from cliplit.lineage import aliases as aliases_of
from cliplit.lineage import packaging, registry, restore
from cliplit.lineage.registry import Challenge, Verdict


def by_score(challenge: Challenge) -> list[Verdict]:
    """A gate that needs no photos: the score with which the versions were registered."""
    if challenge.champion is None:
        return [Verdict("score", True, "no champion reigned")]
    mine, theirs = challenge.challenger.metrics["score"], challenge.champion.metrics["score"]
    return [Verdict("score", mine > theirs, f"score {mine:.4f} against {theirs:.4f}", {"gain": mine - theirs})]


def _promoted(project, seed: int, score: float, dataset: str = "d" * 32):
    project.trained(seed, score, dataset)
    registry.register_challenger(project.path)
    return registry.promote(project.path, by_score)


def test_registering_twice_makes_one_version(project, aliases):
    md5 = project.trained(0, 0.5)
    first, second = registry.register_challenger(project.path), registry.register_challenger(project.path)
    assert (first.number, second.number, first.md5) == (1, 1, md5)
    assert [version.number for version in registry.list_versions(project.path)] == [1]
    assert aliases() == {"challenger": 1}
    assert first.metrics["score"] == 0.5 and first.dataset_md5 == "d" * 32


def test_model_folder_has_no_pickle_and_no_path_of_this_machine(project, tmp_path):
    project.trained(0, 0.5)
    registry.register_challenger(project.path)
    registry.promote(project.path, by_score)
    folder = registry.champion_file(project.path).parents[2]
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert {"MLmodel", "enhancer.py", "README.md", "model.safetensors", "input_example.json"} <= set(names)
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content and str(Path.home()).encode() + b"/" not in content, path
            assert str(packaging.server_file("enhancer.py").parents[1]).encode() not in content, path
    card = (folder / "README.md").read_text()
    assert "d" * 32 in card and "| score | 0.5 |" in card and "enhancer.learning_rate" in card


def test_the_card_shows_photos_before_and_after(project, client):
    picture = Image.new("RGB", (40, 30), (200, 30, 30))
    project.trained(0, 0.5)
    version = registry.register_challenger(project.path, lambda path: picture)
    text = client.get_model_version("cliplit", "1").description
    assert f"![Before and after](get-artifact?path=model%2Fbefore_after.jpg&run_uuid={version.run_id})" in text
    folder = registry.alias_file(project.path, "challenger").parents[2]
    assert "![Before and after](before_after.jpg)" in (folder / "README.md").read_text()
    with Image.open(folder / "before_after.jpg") as kept:
        assert kept.size == picture.size
    project.trained(1, 0.6)
    registry.register_challenger(project.path)
    assert "Before and after" not in client.get_model_version("cliplit", "2").description


def test_a_picture_that_cannot_be_drawn_costs_the_picture_only(project, client, caplog):
    def broken(path: Path) -> None:
        raise ZeroDivisionError("no photos")

    project.trained(0, 0.5)
    assert registry.register_challenger(project.path, broken).number == 1
    assert "the model card has no picture: no photos" in caplog.text
    assert "Before and after" not in client.get_model_version("cliplit", "1").description


def test_first_challenger_reigns_then_only_a_better_one(project, aliases):
    assert _promoted(project, 0, 0.5).promoted
    assert aliases() == {"challenger": 1, "champion": 1}
    worse = _promoted(project, 1, 0.4)
    assert not worse.promoted and "score 0.4000 against 0.5000" in worse.reason
    equal = _promoted(project, 2, 0.5)
    assert not equal.promoted and aliases() == {"challenger": 3, "champion": 1}
    better = _promoted(project, 3, 0.6)
    assert better.promoted and better.champion_before.number == 1
    assert aliases() == {"challenger": 4, "champion": 4, "previous": 1}
    again = registry.promote(project.path, by_score)
    assert not again.promoted and "reigns already" in again.reason


def test_rollback_swaps_and_is_not_undone_by_the_next_promotion(project, aliases):
    with pytest.raises(UserError, match="previous"):
        registry.rollback(project.path)
    _promoted(project, 0, 0.5)
    _promoted(project, 1, 0.6)
    assert registry.rollback(project.path).version.number == 1
    assert aliases() == {"challenger": 2, "champion": 1, "previous": 2}
    refused = registry.promote(project.path, by_score)
    assert not refused.promoted and "was rolled back" in refused.reason
    assert registry.rollback(project.path).version.number == 2
    assert aliases() == {"challenger": 2, "champion": 2, "previous": 1}
    assert not any(version.rolled_back for version in registry.list_versions(project.path) if version.number == 2)


def test_flipped_bit_is_refused(project, aliases):
    _promoted(project, 0, 0.5)
    project.trained(1, 0.9)
    registry.register_challenger(project.path)
    found = aliases_of.by_alias(aliases_of.client_of(project.path), "challenger")
    weights = restore._local_folder(aliases_of.client_of(project.path), project.path, found) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="not those that DVC recorded"):
        registry.promote(project.path, by_score)
    assert aliases()["champion"] == 1


def test_flipped_bit_in_the_champion_is_not_served(project):
    _promoted(project, 0, 0.5)
    weights = registry.champion_file(project.path)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match="not those that DVC recorded"):
        registry.champion_file(project.path)


def test_rollback_passes_over_a_champion_that_was_deposed_because_it_was_lost(project, aliases):
    _promoted(project, 0, 0.5)
    _promoted(project, 1, 0.6)
    shutil.rmtree(registry.champion_file(project.path).parent)
    project.trained(2, 0.7)
    registry.register_challenger(project.path)
    found = registry.challenge(project.path)
    assert found.champion.number == 2 and found.champion_file is None and "are gone" in found.champion_lost
    done = registry.promote(project.path, lambda challenge: [])
    assert done.promoted and done.champion_before.number == 2
    assert aliases() == {"challenger": 3, "champion": 3, "previous": 1}
    assert registry.rollback(project.path).version.number == 1


def test_flipped_bit_before_registering_is_refused(project):
    project.trained(0, 0.5)
    weights = project.path / "artifacts/model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match=r"dvc\.lock says"):
        registry.register_challenger(project.path)
    assert registry.list_versions(project.path) == []


def test_metrics_of_another_model_are_refused(project):
    project.trained(0, 0.5)
    lock = project.path / "dvc.lock"
    before = lock.read_text()
    project.trained(1, 0.9)
    stale = before.split("\n  select:")[0] + "\n  select:" + lock.read_text().split("\n  select:")[1]
    lock.write_text(stale)
    with pytest.raises(UserError, match="not about the chosen model"):
        registry.register_challenger(project.path)


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_promotion_killed_between_writes_is_completed(project, aliases, monkeypatch, writes):
    _promoted(project, 0, 0.5)
    project.trained(1, 0.6)
    registry.register_challenger(project.path)
    from mlflow.tracking import MlflowClient

    done: list[str] = []

    def cut_after(original):
        def write(*args):
            if len(done) == writes:
                raise KeyboardInterrupt
            done.append(original.__name__)
            return original(*args)

        return write

    with monkeypatch.context() as patch:
        for name in ("set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_tag"):
            patch.setattr(MlflowClient, name, cut_after(getattr(MlflowClient, name)))
        with pytest.raises(KeyboardInterrupt):
            registry.promote(project.path, by_score)
    assert registry.champion_file(project.path) is not None
    registry.promote(project.path, by_score)
    assert aliases() == {"challenger": 2, "champion": 2, "previous": 1}
    assert registry.rollback(project.path).version.number == 1


def _promote_in_process(path: str, answers) -> None:
    answers.put(registry.promote(Path(path), by_score).promoted)


@pytest.mark.slow
def test_concurrent_promotions_serialise(project, aliases):
    _promoted(project, 0, 0.5)
    project.trained(1, 0.6)
    registry.register_challenger(project.path)
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_promote_in_process, args=(str(project.path), answers)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(answers.get(timeout=5) for _ in processes) == [False, True]
    assert aliases() == {"challenger": 2, "champion": 2, "previous": 1}


def test_project_may_move(project, tmp_path_factory):
    _promoted(project, 0, 0.5)
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project.path, moved)
    shutil.rmtree(project.path / "mlruns")
    assert registry.champion_file(moved).is_relative_to(moved)


def test_no_champion_without_a_database(project):
    (project.path / "mlflow.db").unlink()
    assert registry.champion_file(project.path) is None
    assert registry.list_versions(project.path) == []
    assert not (project.path / "mlflow.db").exists()


def test_loaded_champion_relights_a_png(project, monkeypatch):
    _promoted(project, 0, 0.5)
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    assert "site-packages" in Path(mlflow.__file__).parts
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    try:
        model = mlflow.pyfunc.load_model("models:/cliplit@champion")
    finally:
        mlflow.set_tracking_uri(before)
    photo = packaging.example_photo()
    result = model.predict(pd.DataFrame({"photo": [photo]}))["photo"][0]
    assert Image.open(io.BytesIO(result)).size == (64, 48) and Image.open(io.BytesIO(result)).format == "PNG"
    text = base64.b64encode(photo).decode()
    assert model.predict(pd.DataFrame({"photo": [text]}))["photo"][0] == result
    same = model.predict(pd.DataFrame({"photo": [photo]}), params={"strength": 0.0})["photo"][0]
    assert np.array_equal(Image.open(io.BytesIO(same)), Image.open(io.BytesIO(photo)))
    for bad, sentence in (
        (b"hello", "not a photo"),
        ("?!", "not base64"),
        (photo[: len(photo) // 2], "damaged or truncated"),
    ):
        with pytest.raises(MlflowException, match=sentence):
            model.predict(pd.DataFrame({"photo": [bad]}))
    with pytest.raises(MlflowException, match="strength"):
        model.predict(pd.DataFrame({"photo": [photo]}), params={"strength": -1.0})
    example = model.input_example if hasattr(model, "input_example") else None
    assert example is None or "photo" in str(example)


def test_commands(project):
    from cliplit.commands.models import models

    run = CliRunner().invoke
    assert "No model is registered" in run(models, ["list"]).output
    project.trained(0, 0.5)
    assert "Version 1" in run(models, ["register"]).output
    registry.promote(project.path, by_score)
    table = run(models, ["list"]).output
    assert "challenger, champion" in table and "0.5000" in table
    failed = run(models, ["rollback"])
    assert isinstance(failed.exception, UserError)
