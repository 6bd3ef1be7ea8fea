"""Publishing a run, and what a fresh clone gets from git and the remote alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock
from remote_project import Project, cliplit

from cliplit.enhancer import Enhancer
from cliplit.errors import UserError
from cliplit.lineage import digests, registry, remote


@pytest.mark.slow
def test_a_fresh_clone_has_photos_model_and_champion(shared, clone) -> None:
    champion = digests.path_md5(registry.champion_file(shared.path).parent)
    assert not shared.train(seed=1, score=0.4).promoted  # so the chosen model of dvc.lock is not the champion
    challenger = digests.path_md5(shared.path / "artifacts/model")
    photos = digests.path_md5(shared.path / "data/photos/backlit")
    done = remote.publish(shared.path, git_remote="origin")
    assert done.files == ("dvc.lock", "data/photos/backlit.dvc", "published.dvc")

    fresh = clone()
    with pytest.raises(UserError, match=r"run `dvc pull published\.dvc`"):
        remote.published_champion(fresh.path)
    fresh.dvc("pull", "-q")
    assert digests.path_md5(fresh.path / "data/photos/backlit") == photos
    assert digests.path_md5(fresh.path / "artifacts/model") == challenger != champion
    assert digests.path_md5(remote.published_champion(fresh.path).parent) == champion
    assert not (fresh.path / "mlflow.db").exists()
    assert fresh.dvc("status").strip().endswith("up to date.")

    served = Enhancer.load("champion", "cpu", fresh.path)
    wanted = Enhancer.load(fresh.path / "published/model.safetensors", "cpu")
    other = Enhancer.load(fresh.path / "artifacts/model/model.safetensors", "cpu")
    state = [{name: value.sum().item() for name, value in e.network.state_dict().items()} for e in (served, wanted)]
    assert state[0] == state[1] != {name: value.sum().item() for name, value in other.network.state_dict().items()}
    relit = cliplit(fresh, "enhance", "data/photos/backlit/a.jpg", "-o", "relit")
    assert relit.returncode == 0 and "comes with cliplit" not in relit.stderr, relit.stderr
    assert "Version 1" in cliplit(fresh, "models", "register").stdout


def test_publishing_again_commits_nothing(shared) -> None:
    first = remote.publish(shared.path)
    assert first.commit == shared.git("rev-parse", "HEAD").strip() and first.git_remote is None
    assert "pushed" in first.dvc_said
    second = remote.publish(shared.path)
    assert second.commit is None and shared.log()[0].startswith("Publish photos and model")
    assert shared.git("status", "--porcelain") == ""
    with pytest.raises(Exception, match="returned non-zero"):
        shared.git("rev-parse", "--verify", "-q", "refs/remotes/origin/main")  # nothing went to git's remote unasked


def _refusal(project: Project, **options: str) -> str:
    before = project.git("rev-parse", "HEAD")
    with pytest.raises(UserError) as refused:
        remote.publish(project.path, **options)
    assert project.git("rev-parse", "HEAD") == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_other_work_in_git_is_never_published(shared, tmp_path) -> None:
    notes = shared.path / "notes.txt"
    notes.write_text("half a thought")
    shared.git("add", "notes.txt")
    assert "git's index holds other changes (notes.txt)" in _refusal(shared)
    shared.git("rm", "-q", "--cached", "notes.txt")
    params = shared.path / "params.yaml"
    params.write_text(params.read_text() + "\n")
    assert "not committed (params.yaml)" in _refusal(shared)
    assert not (tmp_path / "remote").exists()
    shared.git("checkout", "-q", "params.yaml")
    remote.publish(shared.path)  # an untracked file alone is nobody's business
    assert "notes.txt" not in shared.git("ls-files")


def test_a_flipped_bit_in_the_cache_is_not_pushed(shared, tmp_path) -> None:
    weights = digests.file_md5(shared.path / "artifacts/model/model.safetensors")
    cached = shared.path / ".dvc/cache/files/md5" / weights[:2] / weights[2:]
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.chmod(0o644)
    cached.write_bytes(content)
    cached.chmod(0o444)  # DVC trusts what nobody may write
    assert "not those that its name says" in _refusal(shared)
    assert not (tmp_path / "remote").exists()


def test_remotes_that_cannot_be_used(shared) -> None:
    assert "dvc push" in _refusal(shared, dvc_remote="nowhere")
    with pytest.raises(UserError, match="git push"):
        remote.publish(shared.path, git_remote="nowhere")
    shared.dvc("remote", "remove", "-q", "team")
    shared.git("commit", "-qam", "No remote")
    assert "dvc push" in _refusal(shared)


def test_nothing_to_publish_and_a_running_stage(shared) -> None:
    with FileLock(shared.path / "work" / "runner.lock"):
        assert "a stage of this project runs" in _refusal(shared)
    (shared.path / "dvc.lock").unlink()
    assert "nothing to publish" in _refusal(shared)


def test_a_damaged_published_champion_is_not_used(shared) -> None:
    remote.publish(shared.path)
    assert remote.published_champion(shared.path) == shared.path / "published/model.safetensors"
    weights = shared.path / "published/model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match="its bytes are not those"):
        remote.published_champion(shared.path)
    assert remote.published_champion(shared.path.parent) is None


def test_the_job_publishes_and_tells_what_it_did(shared, tmp_path) -> None:
    from pipelines.publish import publish

    config = {"ops": {"publish_results": {"config": {"git_remote": "origin"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = publish.execute_in_process(instance=instance, run_config=config)
        assert result.success
        pushed = Project(tmp_path / "bare.git").git("log", "-1", "--format=%H", "main").strip()
        assert pushed == shared.git("rev-parse", "HEAD").strip()
        (shared.path / "stage.py").write_text("")
        failed = publish.execute_in_process(instance=instance, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in failed.all_events if event.is_step_failure]
    assert "not committed (stage.py)" in failure.user_failure_data.description


@pytest.mark.slow
def test_the_command_publishes_too(shared) -> None:
    command = [sys.executable, "-m", "pipelines.train", "publish"]
    done = subprocess.run(command, cwd=shared.path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert shared.log()[0].startswith("Publish photos and model")
    (shared.path / "stage.py").write_text("")
    refused = subprocess.run(command, cwd=shared.path, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2 and "not committed (stage.py)" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nothing_publishes_by_itself() -> None:
    from pipelines.publish import publish_after_training

    assert publish_after_training.default_status is dg.DefaultSensorStatus.STOPPED
    text = Path(remote.__file__).parents[2].joinpath("dvc.yaml").read_text()
    assert "publish" not in text
