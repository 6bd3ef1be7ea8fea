"""The sensor and the schedule start one run for the photos that arrived; the job takes them in before it trains."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from inbox_project import ROOT, InboxProject, create

sys.path.append(str(ROOT / "tests" / "graph"))
from fast_project import FastProject
from fast_project import create as create_fast

from assets.incoming import incoming_asset
from cliplit.errors import ConfigError
from cliplit.inbox.arrivals import arrivals
from pipelines.definitions import build
from pipelines.inbox import inbox_sensor
from pipelines.jobs import ingest_and_retrain
from pipelines.schedules import weekly


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tick(
    project: InboxProject, instance: dg.DagsterInstance, cursor: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    """One evaluation of the sensor, as the daemon makes it."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = inbox_sensor(project.path)(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def requests(found: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    return list(found.run_requests or []) if isinstance(found, dg.SensorResult) else []


def reason(found: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def launched(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """A run as the daemon makes one of a request."""
    tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": "inbox"}
    instance.add_run(dg.DagsterRun(job_name=ingest_and_retrain.name, tags=tags, status=status))


def drop(project: InboxProject, count: int) -> None:
    for index in range(count):
        project.drop(f"backlit/{index}.jpg", index=index)


def test_too_few_photos_start_nothing_and_enough_start_one_run(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 3)
    drop(project, 2)
    assert reason(tick(project, instance)).startswith("2 new photos, 3 start a training")
    drop(project, 3)
    (request,) = requests(tick(project, instance))
    assert request.tags["cliplit.new_photos"] == "3"


def test_copies_of_one_photo_and_other_files_are_one_new_photo(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 2)
    path = project.drop("backlit/a.jpg")
    for number in range(4):
        shutil.copyfile(path, path.with_name(f"copy_{number}.jpg"))
    path.with_name("notes.txt").write_text("no photo")
    assert reason(tick(project, instance)).startswith("1 new photos")


def test_the_key_follows_content_not_names_times_or_order(project: InboxProject, instance: dg.DagsterInstance) -> None:
    project.set("retrain.min_new_photos", 2)
    drop(project, 2)
    (first,) = requests(tick(project, instance))
    inbox = project.path / "data" / "inbox"
    (inbox / "backlit/0.jpg").rename(inbox / "backlit/z.jpg")
    (inbox / "backlit/1.jpg").touch()
    (second,) = requests(tick(project, instance))
    assert second.run_key == first.run_key
    drop(project, 3)
    (third,) = requests(tick(project, instance))
    assert third.run_key != first.run_key


def test_a_daemon_killed_between_sensing_and_launching_loses_nothing_and_doubles_nothing(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 3)
    drop(project, 3)
    first = tick(project, instance, cursor=None)
    assert isinstance(first, dg.SensorResult)
    # Killed before it wrote anything, or after it wrote the cursor but before the launch: asked for again.
    again = [tick(project, instance, cursor=cursor) for cursor in (None, first.cursor)]
    keys = {request.run_key for found in (first, *again) for request in requests(found)}
    assert len(keys) == 1 and all(len(requests(found)) == 1 for found in again)
    # Launched: Dagster would drop the key, and the sensor does not even ask.
    launched(instance, requests(first)[0], dg.DagsterRunStatus.STARTED)
    assert "is under way" in reason(tick(project, instance, cursor=first.cursor))
    assert "is under way" in reason(tick(project, instance, cursor=None))


def test_a_run_that_died_before_ingest_is_asked_for_again_but_not_for_ever(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 1)
    drop(project, 1)
    keys = set()
    for _ in range(3):
        (request,) = requests(tick(project, instance))
        keys.add(request.run_key)
        launched(instance, request, dg.DagsterRunStatus.FAILURE)
    assert len(keys) == 3
    assert "failed; see why, and re-execute it" in reason(tick(project, instance))
    drop(project, 2)  # another photo, another attempt
    assert len(requests(tick(project, instance))) == 1


def test_a_run_that_somebody_cancelled_is_not_started_again(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 1)
    drop(project, 1)
    (request,) = requests(tick(project, instance))
    launched(instance, request, dg.DagsterRunStatus.CANCELED)
    assert "ended without taking them in" in reason(tick(project, instance))


def test_photos_taken_in_by_hand_count_until_they_are_in_a_dataset(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    project.set("retrain.min_new_photos", 2)
    drop(project, 2)
    (before,) = requests(tick(project, instance))
    project.ingest()
    assert arrivals(project.path).in_inbox == frozenset()
    (after,) = requests(tick(project, instance))
    assert after.run_key == before.run_key, "the same photos, wherever they lie"
    dataset = project.path / "artifacts/dataset"
    dataset.mkdir(parents=True)
    (dataset / "manifest.csv").write_text("source\nbacklit/0.jpg\n")
    (dataset / "rejected.csv").write_text("source,reason,kind\nbacklit/1.jpg,duplicate,rejected\n")
    assert reason(tick(project, instance)).startswith("0 new photos")


def test_what_is_wrong_with_params_is_the_reason_to_skip(project: InboxProject, instance: dg.DagsterInstance) -> None:
    project.set("inbox.path", "nosuch://x")
    assert reason(tick(project, instance)).startswith("params.yaml: key 'inbox.path'")


def test_sensor_and_schedule_are_off_until_switched_on(project: InboxProject) -> None:
    assert inbox_sensor(project.path).default_status == dg.DefaultSensorStatus.STOPPED
    schedule = weekly(project.path)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert (schedule.cron_schedule, schedule.job_name) == ("0 3 * * 0", "ingest_and_retrain")
    project.set("retrain.schedule", "every sunday")
    with pytest.raises(ConfigError, match=r"'retrain.schedule' is 'every sunday', which is no cron schedule"):
        weekly(project.path)


def test_the_schedule_asks_for_a_run_whether_or_not_photos_arrived(
    project: InboxProject, instance: dg.DagsterInstance
) -> None:
    import datetime

    when = datetime.datetime(2026, 1, 4, 3, tzinfo=datetime.UTC)
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=when) as context:
        data = weekly(project.path).evaluate_tick(context)
    assert len(data.run_requests or []) == 1


def test_what_came_in_and_why_is_a_table(tmp_path: Path) -> None:
    project = create(tmp_path / "project", dvc=True)
    drop(project, 2)
    (project.path / "data/inbox/backlit/broken.jpg").write_bytes(b"no photo")
    result = dg.materialize([incoming_asset(project.path)])
    (made,) = result.asset_materializations_for_node("incoming")
    rows = {row.data["from"]: row.data for row in made.metadata["table"].records}
    assert rows["backlit/0.jpg"]["outcome"] == "added" and rows["backlit/0.jpg"]["why"] == "it lay in backlit/"
    assert rows["backlit/broken.jpg"]["outcome"] == "review" and "not a photo" in str(rows["backlit/broken.jpg"]["why"])
    assert made.metadata["added"].value == 2 and made.metadata["preview"].value.startswith("![preview](")
    versions = made.metadata["dataset_version"].value
    dvc_file = yaml.safe_load((project.path / "data/photos/backlit.dvc").read_text())
    assert versions["backlit"] == dvc_file["outs"][0]["md5"]
    assert versions["backlit"] in made.tags["dagster/data_version"]


def test_what_a_person_can_put_right_fails_the_asset_with_that_sentence(project: InboxProject) -> None:
    project.set("inbox.path", "nosuch://x")
    result = dg.materialize([incoming_asset(project.path)], raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data and "key 'inbox.path'" in str(failure.user_failure_data.description)


@pytest.mark.slow
def test_the_job_takes_photos_in_versions_them_and_then_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real DVC and stages that take milliseconds; the warning of drift is there before curate starts."""
    path = tmp_path / "project"
    path.mkdir()
    create_fast(path)
    monkeypatch.setenv("CLIPLIT_PROJECT", str(path))
    fast, project = FastProject(path), InboxProject(path)
    fast.set_param("rounds", {})
    fast.set_param("inbox.settle_seconds", 0)
    drop(project, 2)
    job = build().resolve_job_def("ingest_and_retrain")
    stages = [dg.AssetKey(key) for key in ("incoming", "curate", "start", "prompts_0")]
    with dg.DagsterInstance.ephemeral() as found:
        result = job.execute_in_process(instance=found, asset_selection=stages, raise_on_error=False)
        assert result.success
        events = [event for event in result.all_events if event.step_key]
        order = [event.step_key for event in events if event.event_type_value == "STEP_START"]
        checks = [key for key in order if key and "is_like_the_training_set" in key]
        assert len(checks) == 2 and max(map(order.index, checks)) < order.index("curate")
        assert fast.ran == ["curate", "start", "prompts_0"] and project.photos("backlit") == {"a.jpg", "0.jpg", "1.jpg"}
        lock = yaml.safe_load((path / "dvc.lock").read_text())["stages"]["curate"]["deps"]
        tracked = yaml.safe_load((path / "data/photos/backlit.dvc").read_text())["outs"][0]["md5"]
        assert {dep["path"]: dep["md5"] for dep in lock}["data/photos/backlit"] == tracked
        fast.forget()
        again = job.execute_in_process(instance=found, asset_selection=stages, raise_on_error=False)
        assert again.success and fast.ran == []
