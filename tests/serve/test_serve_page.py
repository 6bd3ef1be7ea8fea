"""The page as people use it: in Chromium, by mouse, keyboard and phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_project import Server, photo

pytestmark = pytest.mark.slow
SHIPPED = str(Path(__file__).parents[2] / "cliplit" / "weights" / "grid.safetensors")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Server(tmp_path_factory.mktemp("page"), "--model", SHIPPED, "--max-bytes", "3000000")
    yield server.address
    server.end()


@pytest.fixture
def page(chromium, address) -> Iterator[Any]:
    """The page on a phone in dark mode; whatever it complains of, or asks of other hosts, fails the test."""
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "blob:", "data:")) or complaints.append("host"))
    page.goto(address)
    yield page
    context.close()
    assert [each for each in complaints if "status of 4" not in each] == []


def choose(page: Any, data: bytes, name: str = "a photo.jpg", media: str = "image/jpeg") -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": media, "buffer": data})


def test_a_chosen_photo_is_shown_before_and_after_with_a_divider(page) -> None:
    choose(page, photo(640, 480))
    page.get_by_text("Done.").wait_for()
    assert page.evaluate("[...document.querySelectorAll('.compare img')].every(image => image.naturalWidth === 640)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#save").get_attribute("download") == "a photo-relit.jpg"
    assert "grid.safetensors" in page.locator("#model").inner_text()
    slider = page.get_by_label("Divider between before and after")
    slider.focus()
    bar = "document.querySelector('.bar').offsetLeft"
    before = page.evaluate(bar)
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(bar) < before
    page.keyboard.press("Home")
    assert page.evaluate(bar) <= 1


def test_strength_by_keyboard_relights_again(page) -> None:
    choose(page, photo(320, 240))
    page.get_by_text("Done.").wait_for()
    first = page.locator("#after").get_attribute("src")
    page.locator("#strength").focus()
    page.keyboard.press("Home")
    page.wait_for_function("first => document.querySelector('#after').src !== first", arg=first)
    assert page.locator("#shown").inner_text() == "0.00"
    page.get_by_text("Done.").wait_for()


def test_everything_is_reached_by_the_tab_key(page) -> None:
    choose(page, photo(320, 240))
    page.get_by_text("Done.").wait_for()
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    assert reached == ["file", "Divider between before and after", "strength", "save"]


def test_a_dropped_photo_that_browsers_cannot_show_is_shown(page) -> None:
    data = list(photo(200, 150, "TIFF"))
    page.evaluate(
        """data => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], "scan.tif", { type: "image/tiff" }));
        dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true })); }""",
        data,
    )
    page.get_by_text("Done.").wait_for()
    assert page.evaluate("[...document.querySelectorAll('.compare img')].every(image => image.naturalWidth === 200)")


def test_what_is_wrong_is_said_in_the_servers_words(page) -> None:
    choose(page, b"this is text", "notes.jpg")
    page.get_by_text("Not relit: this is not a photo").wait_for()
    choose(page, b"\xff" * 3_000_001)
    page.get_by_text("Not relit: the photo is larger than").wait_for()
    assert page.locator("#result").is_hidden()
    choose(page, photo(320, 240))
    page.get_by_text("Done.").wait_for()
