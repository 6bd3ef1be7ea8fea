"""What has arrived comes in once, with a reason, and nothing is lost on the way."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from inbox_project import InboxProject, by_outcome, create, render, sha256
from PIL import Image

from cliplit.errors import UserError
from cliplit.inbox import ingest as module
from cliplit.inbox.journal import JOURNAL, Journal
from cliplit.lineage import dvc
from cliplit.photos.codecs import save_jpeg


def test_photos_come_in_and_the_inbox_is_emptied_to_done(project: InboxProject) -> None:
    backlit, well_lit = project.drop("backlit/a.jpg"), project.drop("well_lit/sub/b.jpg", "well_lit")
    bytes_ = {backlit.read_bytes(), well_lit.read_bytes()}
    result = project.ingest()
    assert by_outcome(result) == {"added": {"backlit/a.jpg", "well_lit/sub/b.jpg"}}
    assert (project.photos("backlit"), project.photos("well_lit")) == ({"a.jpg"}, {"b.jpg"})
    assert project.inbox() == {"done/backlit/a.jpg", "done/well_lit/sub/b.jpg"}
    photos = project.path / "data" / "photos"
    assert {(photos / "backlit/a.jpg").read_bytes(), (photos / "well_lit/b.jpg").read_bytes()} == bytes_
    assert result.sentence() == "took in 1 backlit, 1 well_lit"
    assert [one.why for one in result.batch.added] == ["it lay in backlit/", "it lay in well_lit/"]
    assert project.ingest().batch.outcomes == ()


def test_delete_removes_only_what_is_safely_in(project: InboxProject) -> None:
    project.set("inbox.after", "delete")
    project.drop("backlit/a.jpg")
    # The same scene saved again at another quality: known by its looks, but not by its bytes.
    save_jpeg(project.path / "data/inbox/backlit/again.jpg", render("backlit", 0, 0), quality=60)
    shutil.copyfile(
        project.path / "data/photos/backlit/demo_backlit_001.jpg", project.path / "data/inbox/backlit/same.jpg"
    )
    result = project.ingest()
    assert by_outcome(result) == {"added": {"backlit/a.jpg"}, "duplicate": {"backlit/again.jpg", "backlit/same.jpg"}}
    assert project.inbox() == {"done/backlit/again.jpg"}


def test_what_is_known_by_content_or_looks_is_told_and_not_taken_in(project: InboxProject) -> None:
    photo = project.drop("backlit/a.jpg")
    shutil.copyfile(photo, project.path / "data/inbox/backlit/copy_of_a.jpg")
    save_jpeg(project.path / "data/inbox/backlit/smaller.jpg", render("backlit", 0, 1)[::2, ::2])
    reasons = {one.source: (one.outcome, one.why) for one in project.ingest().batch.outcomes}
    assert reasons["backlit/copy_of_a.jpg"] == ("duplicate", "the same file as backlit/a.jpg")
    assert reasons["backlit/smaller.jpg"] == ("duplicate", "looks like backlit/demo_backlit_001.jpg")
    # Also when nothing is remembered but what lies there.
    shutil.rmtree(project.path / "work")
    (project.path / JOURNAL).unlink()
    shutil.copyfile(project.path / "data/photos/backlit/a.jpg", project.path / "data/inbox/backlit/third.jpg")
    assert by_outcome(project.ingest()) == {"duplicate": {"backlit/third.jpg"}}


def test_the_same_photo_in_the_other_role_and_evaluation_pairs_are_kept_out(project: InboxProject) -> None:
    pair = project.path / "data/photos/pairs/backlit/p.jpg"
    save_jpeg(pair, render("backlit", 3, 0))
    save_jpeg(project.path / "data/inbox/backlit/tested.jpg", render("backlit", 3, 0), quality=70)
    save_jpeg(project.path / "data/inbox/well_lit/other_role.jpg", render("backlit", 0, 0), quality=70)
    reasons = {one.source: (one.outcome, one.why) for one in project.ingest().batch.outcomes}
    assert reasons["backlit/tested.jpg"] == ("duplicate", "shows the scene of the evaluation pair p.jpg")
    outcome, why = reasons["well_lit/other_role.jpg"]
    assert outcome == "review" and "stands in the other folder, as backlit/demo_backlit_000.jpg" in why


def test_a_taken_name_gets_part_of_the_hash(project: InboxProject) -> None:
    project.drop("backlit/demo_backlit_000.jpg")
    before = sha256(project.path / "data/photos/backlit/demo_backlit_000.jpg")
    (added,) = project.ingest().batch.added
    assert added.to == f"data/photos/backlit/demo_backlit_000-{added.sha256[:10]}.jpg"
    assert sha256(project.path / "data/photos/backlit/demo_backlit_000.jpg") == before


def test_unsorted_photos_are_sorted_by_the_prior_and_doubtful_ones_reviewed(project: InboxProject) -> None:
    for index in range(4):
        project.drop(f"unsorted/dark_{index}.jpg", "backlit", 7, index)
        project.drop(f"unsorted/fine_{index}.jpg", "well_lit", 7, index)
    noise = project.path / "data/inbox/unsorted/grey.png"
    Image.effect_noise((96, 96), 90).convert("RGB").save(noise)
    result = project.ingest()
    roles = {one.source: one.role for one in result.batch.added}
    assert roles and all(role == ("backlit" if "dark" in source else "well_lit") for source, role in roles.items())
    assert sum("dark" in source for source in roles) >= 3
    assert all(one.confidence is not None and one.confidence >= 0.7 for one in result.batch.added)
    reviewed = by_outcome(result)["review"]
    assert "unsorted/grey.png" in reviewed
    assert result.sheet == project.path / "data/review/contact_sheet.jpg" and result.sheet.is_file()
    rows = list(csv.DictReader((project.path / "data/review/review.csv").open()))
    assert {row["from"] for row in rows} == reviewed
    assert all(row["reason"].startswith("not sure enough to sort it: ") for row in rows)


def test_nobody_sorts_when_the_wanted_confidence_is_never_reached(project: InboxProject) -> None:
    project.set("inbox.confidence", 1.0)
    project.drop("unsorted/dark.jpg")
    assert by_outcome(project.ingest()) == {"review": {"unsorted/dark.jpg"}}
    # A person has decided: the file goes from data/review into the folder where it belongs.
    (file,) = [path for path in (project.path / "data/review").iterdir() if path.stem.startswith("dark")]
    file.rename(project.path / "data/inbox/backlit/dark.jpg")
    result = project.ingest()
    assert by_outcome(result) == {"added": {"backlit/dark.jpg"}} and result.sheet is None
    assert (project.path / "data/review/review.csv").read_text().splitlines() == ["file,from,reason"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken.jpg", b"\xff\xd8\xff\xe0 no photo", "this is not a photo|damaged or truncated"),
        ("empty.jpg", b"", "the file is empty"),
        ("notes.txt", b"hello", "the ending '.txt' is not that of a photo"),
    ],
)
def test_files_that_cannot_be_used_go_to_review_with_the_reason(
    project: InboxProject, name: str, content: bytes, reason: str
) -> None:
    path = project.path / "data/inbox/backlit" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (one,) = project.ingest().batch.outcomes
    assert one.outcome == "review" and one.to is not None
    assert any(part in one.why for part in reason.split("|"))
    assert (project.path / one.to).read_bytes() == content
    assert list(csv.DictReader((project.path / "data/review/review.csv").open()))[0]["reason"] == one.why


def test_hidden_and_unfinished_files_are_left_alone(project: InboxProject) -> None:
    for name in (".DS_Store", "Thumbs.db", "a.jpg.part", ".a.jpg.Xy12", "b.jpg.crdownload"):
        path = project.path / "data/inbox/backlit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert project.ingest().batch.outcomes == () and len(project.inbox()) == 5


STEPS = ("note", "copy", "finish", "track", "close")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_at_any_step_loses_nothing_and_the_next_ingest_reports_all(
    project: InboxProject, step: str, when: str
) -> None:
    for index in range(3):
        project.drop(f"backlit/{index}.jpg", index=index)
    before = project.contents()
    owner, name = {
        "note": (Journal, "note"),
        "copy": (module._Run, "_copy"),
        "finish": (module.Inbox, "finish"),
        "track": (module.dvc, "track_photos"),
        "close": (Journal, "close"),
    }[step]
    real, calls = getattr(owner, name), []

    def killed(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == (2 if step in {"note", "copy", "finish"} else 1):
            if when == "after":
                real(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    child = os.fork()
    if child == 0:
        setattr(owner, name, killed)
        project.ingest()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert before <= project.contents(), "a photo is gone"
    result = project.ingest()
    reported = {one.source for one in result.batch.added}
    if (step, when) == ("close", "after"):
        last = Journal(project.path).last()
        assert last is not None
        reported = {one.source for one in last.added}
    assert reported == {f"backlit/{index}.jpg" for index in range(3)}
    assert project.photos("backlit") == {"0.jpg", "1.jpg", "2.jpg"}
    assert project.inbox() == {f"done/backlit/{index}.jpg" for index in range(3)}
    assert before <= project.contents()


def test_a_torn_line_of_the_journal_costs_nothing(project: InboxProject) -> None:
    project.drop("backlit/a.jpg")
    project.ingest()
    with (project.path / JOURNAL).open("a") as file:
        file.write('{"event": "photo", "sour')
    project.drop("backlit/b.jpg", index=1)
    result = project.ingest()
    assert by_outcome(result) == {"added": {"backlit/b.jpg"}} and result.batch.number == 2
    assert len(Journal(project.path).added()) == 2


def test_a_full_disk_is_one_sentence_and_the_photos_stay(
    project: InboxProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from cliplit import cli

    project.drop("backlit/a.jpg")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", ["cliplit", "photos", "ingest"])
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfile", full)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 2
    assert "no space left; free some and run it again" in capsys.readouterr().err
    assert project.inbox() == {"backlit/a.jpg"} and project.photos("backlit") == set()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and project.photos("backlit") == {"a.jpg"}
    assert "Ingest 1 took in 1 backlit." in capsys.readouterr().out


def test_each_version_of_the_photos_is_a_version_of_dvc(tmp_path: Path) -> None:
    project = create(tmp_path / "project", dvc=True)
    project.drop("backlit/a.jpg")
    first = project.ingest()
    assert "Versioned data/photos/backlit, data/photos/well_lit in DVC" in first.notes[0]
    kept = (project.path / "data/photos/backlit.dvc").read_text()
    project.drop("backlit/b.jpg", index=1)
    second = project.ingest()
    assert first.batch.versions["well_lit"] == second.batch.versions["well_lit"]
    assert first.batch.versions["backlit"] != second.batch.versions["backlit"]
    # The earlier version can be brought back from DVC's cache.
    (project.path / "data/photos/backlit.dvc").write_text(kept)
    assert dvc.run_dvc(project.path, "checkout", "-q", "data/photos/backlit.dvc").returncode == 0
    assert project.photos("backlit") == {"a.jpg"}
    lines = [json.loads(line) for line in (project.path / JOURNAL).read_text().splitlines()]
    assert [line["versions"] for line in lines if line["event"] == "batch"] == [
        first.batch.versions,
        second.batch.versions,
    ]


def test_ingest_waits_for_a_stage_that_runs(project: InboxProject) -> None:
    import threading

    from filelock import FileLock

    project.drop("backlit/a.jpg")
    (project.path / "work").mkdir()
    done: list[object] = []
    with FileLock(project.path / "work" / "runner.lock"):
        thread = threading.Thread(target=lambda: done.append(project.ingest()), daemon=True)
        thread.start()
        thread.join(1.0)
        assert thread.is_alive() and project.photos("backlit") == set()
    thread.join(20)
    assert done and project.photos("backlit") == {"a.jpg"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("inbox.path", "nosuch://x/y", "params.yaml: key 'inbox.path' is 'nosuch://x/y', which cannot be opened"),
        ("inbox.backlit_texts", ["a green photo"], "'inbox.backlit_texts' has 'a green photo', which guidance.bad_li"),
        ("inbox.after", "burn", "key 'inbox.after' is 'burn'"),
    ],
)
def test_a_wrong_setting_is_named(project: InboxProject, key: str, value: object, message: str) -> None:
    project.set(key, value)
    project.drop("unsorted/a.jpg")
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        project.ingest()
    assert project.inbox() == {"unsorted/a.jpg"}
