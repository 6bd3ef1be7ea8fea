"""DVC's remote in an S3-compatible store, and everything that docs/team.md tells a team to type."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from remote_project import Project

from cliplit.lineage import digests, registry, remote

moto = pytest.importorskip("moto.server", reason="moto is not installed")
pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine with the bucket cliplit; its address."""
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="cliplit")
    yield f"http://{host}:{port}"
    server.stop()


def test_publish_to_s3_and_restore_in_a_fresh_clone(project, store, tmp_path, clone: Callable[[], Project]) -> None:
    """The team's first hour: a remote with an endpoint of its own, a publication, a colleague's clone."""
    project.dvc("remote", "add", "-q", "-d", "team", "s3://cliplit/dvc")
    project.dvc("remote", "modify", "-q", "team", "endpointurl", store)
    project.git("commit", "-qam", "A remote")
    project.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    project.git("remote", "add", "origin", str(tmp_path / "bare.git"))
    photos = digests.path_md5(project.path / "data/photos/backlit")
    champion = digests.path_md5(registry.champion_file(project.path).parent)
    done = remote.publish(project.path, git_remote="origin")
    assert "pushed" in done.dvc_said and done.commit

    fresh = clone()
    assert not (tmp_path / "project").exists()
    fresh.dvc("pull", "-q")
    assert digests.path_md5(fresh.path / "data/photos/backlit") == photos
    assert digests.path_md5(remote.published_champion(fresh.path).parent) == champion
    shutil.rmtree(fresh.path / ".dvc/cache")
    shutil.rmtree(fresh.path / "published")
    fresh.dvc("pull", "-q", "published.dvc")
    assert digests.path_md5(fresh.path / "published") == champion


def test_the_environment_names_the_store_too(project, store, monkeypatch) -> None:
    """As in deploy/compose.yaml: AWS_ENDPOINT_URL, and nothing about the store in .dvc/config."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    project.dvc("remote", "add", "-q", "-d", "team", "s3://cliplit/other")  # DVC remembers what an address held
    project.git("commit", "-qam", "A remote")
    assert "pushed" in remote.publish(project.path).dvc_said


def test_a_store_that_is_gone_is_one_sentence(project, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    project.dvc("remote", "add", "-q", "-d", "team", "s3://cliplit/dvc")
    project.dvc("remote", "modify", "-q", "team", "endpointurl", "http://127.0.0.1:9")
    project.git("commit", "-qam", "A remote")
    before = project.git("rev-parse", "HEAD")
    with pytest.raises(Exception, match="^dvc push: ") as refused:
        remote.publish(project.path)
    assert "\n" not in str(refused.value) and project.git("rev-parse", "HEAD") == before
