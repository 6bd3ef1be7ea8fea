"""The served model follows the registry's champion, and a broken champion changes nothing but what is told."""

from __future__ import annotations

import time

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from serve_project import photo, wait_for

from cliplit.lineage import registry
from cliplit.serve.follower import Follower


def test_without_a_champion_the_shipped_model_serves_until_one_reigns(project) -> None:
    follower = Follower(project=project.path, device="cpu")
    assert (follower.served.label, follower.served.version) == ("shipped", None)
    first = follower.served
    follower.check()
    assert follower.served is first and follower.problem is None
    version = project.promote(1)
    follower.check()
    assert (follower.served.version, follower.served.md5) == (version.number, version.md5)
    same = follower.served
    follower.check()
    assert follower.served is same
    assert b"cliplit_model_swaps_total 1.0" in follower.metrics.text()


def _overwrite(project, change) -> None:
    """Change the champion's weights where the registry keeps them, and DVC's md5 with them, as a bad training would."""
    weights = registry.champion_file(project.path)
    tensors = {name: change(values.clone()) for name, values in load_file(weights).items()}
    from safetensors import safe_open

    with safe_open(weights, "pt") as opened:
        metadata = opened.metadata()
    save_file(tensors, weights, metadata)
    from cliplit.lineage import digests, mlflow_store

    client = mlflow_store.make_client(project.path)
    number = str(registry.champion_version(project.path).number)
    client.set_model_version_tag(registry.NAME, number, "dvc.md5", digests.path_md5(weights.parent))


def test_a_broken_champion_leaves_the_old_one_serving_and_says_so(project) -> None:
    project.promote(1)
    follower = Follower(project=project.path, device="cpu")
    good = follower.served
    project.promote(2)
    weights = registry.champion_file(project.path)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    follower.check()
    assert follower.served is good and "not those that DVC recorded" in follower.problem
    assert b"cliplit_model_problem 1.0" in follower.metrics.text()
    registry.rollback(project.path)
    follower.check()
    assert follower.served is good and follower.problem is None
    assert b"cliplit_model_problem 0.0" in follower.metrics.text()


def test_a_champion_of_nans_never_serves(project) -> None:
    project.promote(1)
    follower = Follower(project=project.path, device="cpu")
    project.promote(2)
    _overwrite(project, lambda values: torch.full_like(values, torch.nan))
    follower.check()
    assert follower.served.version == 1 and follower.problem
    assert "\n" not in follower.problem


def test_a_registry_that_is_gone_costs_nothing(project, monkeypatch) -> None:
    project.promote(1)
    follower = Follower(project=project.path, device="cpu")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    follower.check()
    assert follower.served.version == 1 and "does not answer" in follower.problem
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    follower.check()
    assert follower.problem is None
    from cliplit.lineage import mlflow_store

    mlflow_store.make_client(project.path).delete_registered_model_alias(registry.NAME, "champion")
    follower.check()
    assert follower.served.version == 1 and "no champion reigns any more" in follower.problem


@pytest.mark.slow
def test_a_promotion_is_served_without_a_restart_while_requests_go_on(project, serve) -> None:
    project.promote(1)
    server = serve("--poll", "0.5")
    assert server.health()["model"]["version"] == 1
    sent, served, statuses = photo(kind="PNG"), [], []
    with httpx.Client(base_url=server.address, timeout=30) as client:

        def ask() -> httpx.Response:
            answer = client.post("/enhance", content=sent)
            served.append(answer.headers.get("cliplit-model"))
            statuses.append(answer.status_code)
            return answer

        before = ask().content
        project.promote(2)
        promoted = time.monotonic()
        wait_for(lambda: ask().headers["cliplit-model"] == "2", server.process, 60)
        seconds = time.monotonic() - promoted
        after = ask().content
        registry.rollback(project.path)
        wait_for(lambda: ask().headers["cliplit-model"] == "1", server.process, 60)
        assert ask().content == before != after
    print(f"promoted to served: {seconds:.1f} s; {len(served)} requests meanwhile, all answered")
    assert set(statuses) == {200} and set(served) == {"1", "2"}
    assert seconds < 60
    assert server.health()["status"] == "ok"
