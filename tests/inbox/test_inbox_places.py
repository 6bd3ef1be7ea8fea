"""An inbox may lie anywhere that fsspec reaches, and a file counts only once nobody writes to it any more."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from inbox_project import InboxProject, by_outcome, render
from PIL import Image

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.inbox.looks import Looked, look
from cliplit.inbox.source import Arrived, Inbox


def photo(role: str = "backlit", index: int = 0) -> bytes:
    """A JPEG in memory."""
    import io

    data = io.BytesIO()
    Image.fromarray(render(role, 901, index)).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def memory(project: InboxProject) -> Iterator[tuple[InboxProject, fsspec.AbstractFileSystem, str]]:
    """The inbox in memory, at an address of its own."""
    root = f"/inbox-{uuid.uuid4().hex}"
    project.set("inbox.path", f"memory:/{root}")
    system = fsspec.filesystem("memory")
    yield project, system, root
    system.rm(root, recursive=True) if system.exists(root) else None


def test_an_inbox_in_memory(memory: tuple[InboxProject, fsspec.AbstractFileSystem, str]) -> None:
    project, system, root = memory
    assert project.ingest().batch.outcomes == ()
    system.pipe_file(f"{root}/backlit/deep/er/a.jpg", photo())
    system.pipe_file(f"{root}/well_lit/b.jpg", photo("well_lit"))
    assert by_outcome(project.ingest()) == {"added": {"backlit/deep/er/a.jpg", "well_lit/b.jpg"}}
    assert sorted(system.find(root)) == [f"{root}/done/backlit/deep/er/a.jpg", f"{root}/done/well_lit/b.jpg"]
    assert (project.path / "data/photos/backlit/a.jpg").read_bytes() == photo()


@pytest.mark.slow
def test_an_inbox_in_s3(project: InboxProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's server speaks S3; a missing bucket and a bucket that refuses are one sentence."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}"}
        project.set("inbox.path", "s3://photos/inbox")
        project.set("inbox.options", options)
        system = fsspec.filesystem("s3", skip_instance_cache=True, **options)
        system.mkdir("photos")
        assert project.ingest().batch.outcomes == ()
        system.pipe_file("photos/inbox/backlit/a.jpg", photo())
        system.pipe_file("photos/inbox/unsorted/night.jpg", photo(index=1))
        result = project.ingest()
        assert {one.source for one in result.batch.added} == {"backlit/a.jpg", "unsorted/night.jpg"}
        system.invalidate_cache()
        assert system.find("photos") == ["photos/inbox/done/backlit/a.jpg", "photos/inbox/done/unsorted/night.jpg"]
        # Written anew under the same name: other content, so another photo; the same content is none.
        system.pipe_file("photos/inbox/backlit/a.jpg", photo(index=2))
        system.pipe_file("photos/inbox/backlit/again.jpg", photo())
        assert by_outcome(project.ingest()) == {"added": {"backlit/a.jpg"}, "duplicate": {"backlit/again.jpg"}}
        project.set("inbox.path", "s3://elsewhere/inbox")
        with pytest.raises(UserError, match="s3://elsewhere/inbox: there is no such inbox"):
            project.ingest()
    finally:
        server.stop()
    project.set("inbox.path", "s3://photos/inbox")
    with pytest.raises(UserError, match="the inbox cannot be listed"):
        project.ingest()


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def looked(project: InboxProject, clock: Clock, seconds: float = 10) -> Looked:
    inbox = Inbox.open(load_params(project.path / "params.yaml").inbox, project.path)
    return look(inbox, seconds, project.path, clock)


def settled(found: Looked) -> list[str]:
    return [one.file.source for one in found.settled]


def test_a_file_counts_after_two_equal_looks_far_enough_apart(project: InboxProject) -> None:
    clock = Clock()
    path = project.drop("backlit/a.jpg")
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    assert settled(looked(project, clock)) == []
    clock.now += 30
    path.write_bytes(whole)  # it grew: what was seen before does not count
    assert settled(looked(project, clock)) == []
    clock.now += 9
    assert settled(looked(project, clock)) == []
    clock.now += 1
    assert settled(looked(project, clock)) == ["backlit/a.jpg"]


def test_content_counts_not_size_or_time(project: InboxProject) -> None:
    """Some programs reserve the whole size first and fill it, and some set the time of the original."""
    import os

    clock = Clock()
    path = project.drop("backlit/a.jpg")
    whole = path.read_bytes()
    path.write_bytes(b"\0" * len(whole))
    os.utime(path, (1, 1))
    assert settled(looked(project, clock)) == []
    clock.now += 30
    path.write_bytes(whole)
    os.utime(path, (1, 1))
    assert settled(looked(project, clock)) == [], "the bytes are not those of the first look"
    clock.now += 30
    assert settled(looked(project, clock)) == ["backlit/a.jpg"]
    os.utime(path)  # touched, not changed: it is the photo that it was
    assert settled(looked(project, clock)) == ["backlit/a.jpg"]


def test_a_file_that_grows_while_it_is_read_waits(project: InboxProject, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.drop("backlit/a.jpg")
    real = Inbox.sha256

    def growing(self: Inbox, file: Arrived, copy: object = None) -> str | None:
        with path.open("ab") as more:
            more.write(b"more")
        return real(self, file, copy)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "sha256", growing)
    result = project.ingest()
    assert result.batch.outcomes == () and result.waiting == 1
    assert result.sentence() == "took in no new photo; 1 still being written"
    assert project.inbox() == {"backlit/a.jpg"}


def test_a_file_that_changes_between_look_and_copy_waits(
    project: InboxProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.drop("backlit/a.jpg")
    from cliplit.inbox import ingest as module

    real = module.look_until_settled

    def then_changed(*arguments: object) -> Looked:
        found = real(*arguments)  # type: ignore[arg-type]
        project.drop("backlit/a.jpg", index=6)
        return found

    monkeypatch.setattr(module, "look_until_settled", then_changed)
    assert project.ingest().waiting == 1 and project.photos("backlit") == set()
    monkeypatch.undo()
    assert by_outcome(project.ingest()) == {"added": {"backlit/a.jpg"}}


def test_a_file_that_is_written_anew_after_the_copy_is_not_moved_away(
    project: InboxProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.drop("backlit/a.jpg")
    real = Inbox.finish

    def replaced(self: Inbox, file: Arrived, after: str, sha256: str) -> None:
        project.drop("backlit/a.jpg", index=5)
        real(self, file, after, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "finish", replaced)
        project.ingest()
    assert path.exists() and project.photos("backlit") == {"a.jpg"}
    second = project.ingest()
    assert len(second.batch.added) == 1 and len(project.photos("backlit")) == 2


def test_the_command_line_makes_the_second_look_itself(project: InboxProject) -> None:
    project.set("inbox.settle_seconds", 0.3)
    project.drop("backlit/a.jpg")
    assert by_outcome(project.ingest()) == {"added": {"backlit/a.jpg"}}


def test_a_folder_that_cannot_be_read_is_one_sentence(project: InboxProject, tmp_path: Path) -> None:
    project.set("inbox.path", str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file: the inbox cannot be made .*; check its address"):
        project.ingest()
