"""The report as a reader meets it: opened in Chromium from a file, with the divider dragged, tapped and typed at."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cliplit.config import load_params
from cliplit.evaluation import report
from cliplit.files import write_json
from cliplit.networks import build_network, save_network
from cliplit.photos.codecs import save_jpeg

pytestmark = pytest.mark.slow
PHOTOS = 14
TERMS = {"score": -1.0, "light": -0.5, "structure": 0.95, "clipping": 0.0, "harm": 0.1}


def colour(red, green, blue):
    return np.full((120, 160, 3), (red, green, blue), np.uint8)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """A report of 14 photos: red before, blue after, green as the reference of the pairs."""
    project = tmp_path_factory.mktemp("project")
    artifacts = project / "artifacts"
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    gallery = []
    for index in range(PHOTOS):
        paired = index % 2 == 1
        picture = {"photo": f"backlit/{index}.jpg", "set": "pairs" if paired else "backlit", "worst": index < 4}
        picture |= {"reason": "criterion -0.20", "before": f"{index}_before.jpg", "after": f"{index}_after.jpg"}
        picture["reference"] = f"{index}_reference.jpg" if paired else None
        for key, pixels in (
            ("before", colour(200, 0, 0)),
            ("after", colour(0, 0, 200)),
            ("reference", colour(0, 200, 0)),
        ):
            if picture[key]:
                save_jpeg(artifacts / "evaluation/photos" / picture[key], pixels)
        save_jpeg(artifacts / "dataset/photos" / picture["photo"], colour(60, 50, 40))
        gallery.append(picture)
    write_json(artifacts / "evaluation/gallery.json", gallery)
    choice = {"round": "1", "rounds": list(params.round_names), "better_than_identity": True}
    choice |= {"backlit_photos": 7, "well_lit_photos": 7}
    choice["scores"] = dict.fromkeys(("identity", *params.round_names), TERMS)
    write_json(artifacts / "model/choice.json", choice)
    names = list(report.FIGURES) + [f"pairs_{m}_{k}" for m in ("psnr", "ssim") for k in report.METHOD_NAMES]
    names.append("pairs_psnr_gain")
    figures = {name + end: 7.0 for name in names for end in ("", "_low", "_high", "_n")}
    write_json(
        artifacts / "metrics/evaluation.json", {**figures, "score": -1.0, "score_identity": -2.0, "pairs_n": 7.0}
    )
    for name in params.round_names:
        save_network(build_network(params.network), params.network, artifacts / f"enhancer/{name}/network.safetensors")
        (artifacts / "plots").mkdir(exist_ok=True)
        (artifacts / f"plots/enhancer_{name}.csv").write_text("step,loss\n1,4\n2,2\n", encoding="utf-8")
    report.run(params, project)
    return artifacts / "report/report.html"


@pytest.fixture
def opened(chromium, page_file):
    """The page, its console messages and what it asked the network for."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, has_touch=True)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    yield page, complaints, requests
    context.close()


def clip(page, index=0):
    """How many px of the picture ``index`` the left side shows: what the browser uses to place the bar."""
    return page.evaluate(
        """index => { const picture = document.querySelectorAll('.compare')[index];
        return picture.querySelector('.bar').offsetLeft + 1; }""",
        index,
    )


def pixel(page, locator, fraction):
    """The colour that is really painted at ``fraction`` of the picture's width, a quarter down."""
    with Image.open(io.BytesIO(locator.screenshot())) as image:
        return image.convert("RGB").getpixel((round(image.width * fraction), image.height // 4))


def is_red(rgb):
    return rgb[0] > 150 and rgb[2] < 60


def is_blue(rgb):
    return rgb[2] > 150 and rgb[0] < 60


def is_green(rgb):
    return rgb[1] > 150 and rgb[0] < 60


def test_nothing_is_requested_and_nothing_complains(opened, page_file):
    page, complaints, requests = opened
    assert [url for url in requests if not url.startswith(("data:", page_file.as_uri()))] == []
    assert complaints == []
    assert page.locator(".compare").count() == PHOTOS
    broken = page.evaluate("[...document.images].filter(image => !image.complete || !image.naturalWidth).length")
    assert broken == 0


def test_worst_cases_stand_first_and_say_so(opened):
    page, _, _ = opened
    marked = [card.locator(".badge").count() for card in page.locator("figure:has(.compare)").all()]
    assert marked == [1] * 4 + [0] * (PHOTOS - 4)
    assert "criterion -0.20" in page.locator("figure:has(.compare)").first.inner_text()


def test_dragging_the_divider_moves_what_is_painted(opened):
    page, complaints, _ = opened
    picture = page.locator(".compare").first
    picture.scroll_into_view_if_needed()
    assert is_red(pixel(page, picture, 0.3)) and is_blue(pixel(page, picture, 0.7))
    box = picture.bounding_box()
    middle = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(box["x"] + box["width"] * (0.5 + 0.05 * step), middle)
    page.mouse.up()
    assert clip(page) == pytest.approx(box["width"] * 0.9, abs=6)
    assert is_red(pixel(page, picture, 0.7)) and is_blue(pixel(page, picture, 0.97))
    assert clip(page, 1) == pytest.approx(box["width"] * 0.5, abs=6), "the other pictures stay"
    assert complaints == []


def test_the_divider_follows_the_keyboard(opened):
    page, _, _ = opened
    slider = page.locator(".compare input").first
    slider.focus()
    before = clip(page)
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert clip(page) > before
    page.keyboard.press("Home")
    assert clip(page) == pytest.approx(0, abs=1)
    assert is_blue(pixel(page, page.locator(".compare").first, 0.1))
    assert slider.get_attribute("aria-label").startswith("Divider")


def test_the_divider_follows_a_tap(opened):
    page, _, _ = opened
    picture = page.locator(".compare").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 3)
    assert clip(page) == pytest.approx(box["width"] * 0.2, abs=6)


def test_a_pair_shows_its_reference(opened):
    page, _, _ = opened
    card = page.locator("figure:has(.compare)").nth(1)
    card.get_by_role("button").click()
    assert card.get_by_role("button").get_attribute("aria-pressed") == "true"
    assert is_green(pixel(page, card.locator(".compare"), 0.3))
    assert is_blue(pixel(page, card.locator(".compare"), 0.7))
    card.get_by_role("button").click()
    assert is_red(pixel(page, card.locator(".compare"), 0.3))


def test_every_round_is_there_and_the_chosen_one_is_marked(opened):
    page, _, _ = opened
    assert page.locator(".rounds figure").count() == 4
    assert "round 1" in page.locator(".chosen-card").inner_text()
    assert page.locator("svg polyline.smooth").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_overflows_and_text_has_contrast(chromium, page_file, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colours = page.evaluate(
        """() => [...document.querySelectorAll('h1, .quiet, td, .badge')].map(element => {
        let behind = element;
        while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]; })"""
    )
    assert len(colours) > 20
    assert min(contrast(*map(numbers, pair)) for pair in colours) >= 4.5
    context.close()


def numbers(css):
    return json.loads("[" + css[css.index("(") + 1 : -1] + "]")[:3]


def contrast(one, other):
    """WCAG 2 contrast ratio of two sRGB colours."""

    def luminance(rgb):
        linear = [v / 3294.6 if v <= 10.31 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
