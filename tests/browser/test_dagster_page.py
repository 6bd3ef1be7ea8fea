"""The story that Dagster and MLflow tell: *Materialize all* is pressed in Chromium, and what is shown then is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ui_project
from PIL import Image

from cliplit.evaluation.pictures import before_and_after
from cliplit.lineage import dvc, graph, registry
from cliplit.photos.codecs import save_jpeg
from cliplit.photos.demo import render_photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RUN_SECONDS = 900.0  # s on a busy machine
PATIENCE = 90_000  # ms that a page gets
RUNS = "{ runsOrError { ... on Runs { results { status jobName } } } }"
ASSETS = """{ assetNodes { assetKey { path } description kinds isMaterializable
  owners { ... on TeamAssetOwner { team } }
  assetChecksOrError { ... on AssetChecks { checks {
    name description blocking executionForLatestMaterialization { status } } } }
  assetMaterializations(limit: 1) { metadataEntries { label
    ... on UrlMetadataEntry { url } ... on MarkdownMetadataEntry { mdStr } ... on FloatMetadataEntry { floatValue } } }
} }"""
AS_TABLE = {"start"}  # a decision has no looks
WITHOUT_NUMBERS = {"report"}


@pytest.fixture(scope="module")
def shown(chromium, tmp_path_factory) -> Iterator[ui_project.Pages]:
    """The pages after somebody has pressed *Materialize all*, and the run has succeeded."""
    project = tmp_path_factory.mktemp("pages") / "project"
    ui_project.create(project)
    inbox = project / "data" / "inbox" / "backlit"
    inbox.mkdir(parents=True)
    save_jpeg(inbox / "new.jpg", render_photo("backlit", 91, 3))
    with ui_project.served(project, tmp_path_factory.mktemp("site-cache")) as pages:
        page = opened(chromium, f"{pages.dagster}/locations/cliplit/jobs/ingest_and_retrain")
        page.get_by_role("button", name="Materialize all").click()
        ended = {"SUCCESS", "FAILURE", "CANCELED"}

        def finished() -> Any:
            return [run for run in pages.ask(RUNS)["runsOrError"]["results"] if run["status"] in ended]

        runs = ui_project.wait_for(finished, RUN_SECONDS, "the run that the button starts ends")
        log = project / ".dagster" / "ui.log"
        assert runs == [{"status": "SUCCESS", "jobName": "ingest_and_retrain"}], log.read_text()[-3000:]
        page.close()
        yield pages


@pytest.fixture(scope="module")
def assets(shown) -> dict[str, dict[str, Any]]:
    """{name: what Dagster's page is made of} of all assets."""
    return {"/".join(node["assetKey"]["path"]): node for node in shown.ask(ASSETS)["assetNodes"]}


@pytest.fixture
def page(chromium) -> Iterator[Any]:
    page = opened(chromium, "about:blank")
    yield page
    page.close()


def opened(chromium, address: str) -> Any:
    page = chromium.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def entries(asset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{label: entry} of the newest materialization."""
    (made,) = asset["assetMaterializations"]
    return {entry["label"]: entry for entry in made["metadataEntries"]}


def made_here(assets: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: asset for name, asset in assets.items() if asset["isMaterializable"]}


def test_all_stages_are_there_and_every_asset_says_what_it_is(shown, assets) -> None:
    stages = {
        stage.family if stage.round is None else f"{stage.family}_{stage.round}"
        for stage in graph.stages(shown.project)
    }
    assert stages | {"incoming", "challenger", "champion"} == set(made_here(assets))
    assert {name for name, asset in assets.items() if len(asset["description"] or "") < 40} == set()


def test_every_asset_has_an_owner_and_kinds(assets) -> None:
    owners = {name: asset["owners"] for name, asset in assets.items()}
    assert owners == dict.fromkeys(owners, [{"team": "cliplit"}])
    assert {name for name, asset in assets.items() if not asset["kinds"]} == set()


def test_every_asset_shows_numbers_and_a_picture_or_a_table(assets) -> None:
    for name, asset in made_here(assets).items():
        found = entries(asset)
        looks = "| start | |\n" if name in AS_TABLE else "![preview](data:image/jpeg;base64,"
        assert found["preview"]["mdStr"].startswith(looks), name
        if name not in WITHOUT_NUMBERS:
            assert len(found.keys() - {"preview", "mlflow", "cache_hit", "outputs"}) >= 3, name
        assert name == "incoming" or "mlflow" in found, name


def test_every_check_has_run_is_explained_and_green(assets) -> None:
    checks = {
        f"{name}: {check['name']}": check
        for name, asset in assets.items()
        for check in asset["assetChecksOrError"].get("checks", [])
    }
    states = {name: (check["executionForLatestMaterialization"] or {}).get("status") for name, check in checks.items()}
    assert len(checks) > 20 and states == dict.fromkeys(checks, "SUCCEEDED")
    assert all(check["description"] and check["blocking"] for check in checks.values())


def test_the_page_of_an_asset_shows_all_that_and_its_link_opens_its_run(shown, page) -> None:
    page.goto(f"{shown.dagster}/assets/enhancer_1")
    link = page.locator(f"a[href^='{shown.mlflow}'][href*='/runs/']").first
    link.wait_for()
    text = page.locator("body").inner_text()
    for expected in ("Round 1, trains the network on", "Owners", "cliplit", "Kinds", "PyTorch", "val_loss"):
        assert expected in text, expected
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[alt=preview]")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.goto(link.get_attribute("href"))
    page.get_by_role("heading", name="enhancer@1").wait_for()
    page.get_by_text("Finished").first.wait_for()
    page.get_by_role("link", name="Model registry").wait_for()  # the view for those who train, which has one
    assert page.get_by_text("Evaluation runs").count() == 0


def test_the_registry_shows_card_tags_and_aliases_of_the_champion(shown, assets, page) -> None:
    page.goto(entries(assets["champion"])["mlflow"]["url"])
    page.get_by_role("heading", name="cliplit: relights photos taken against the light").wait_for()
    text = page.locator("body").inner_text()
    (version,) = registry.list_versions(shown.project)
    assert version.md5 == dvc.outputs_md5(shown.project, "select")
    for expected in ("Version 1", "champion", "challenger", "dvc.md5", version.md5, "score_gain"):
        assert expected in text, expected


def test_the_registry_shows_photos_before_and_after(shown, assets, page) -> None:
    page.goto(entries(assets["champion"])["mlflow"]["url"])
    picture = page.locator("img[src*='get-artifact']")
    picture.wait_for()
    size = picture.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
    assert tuple(size) == before_and_after(shown.project).size
    with Image.open(io.BytesIO(picture.screenshot())) as painted:
        assert len(painted.convert("RGB").quantize(64).getcolors()) > 30, "nothing is painted"


def test_the_folders_of_photos_are_explained_too(assets) -> None:
    folders = {f"photos/{Path(path).name}" for path in ("backlit", "well_lit", "pairs")}
    assert {name for name, asset in assets.items() if not asset["isMaterializable"]} == folders
