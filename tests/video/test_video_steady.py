"""Relit films do not flicker more than they did, and the light starts anew at a cut."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from cliplit.enhancer import SHIPPED, Enhancer
from cliplit.photos.demo import render_photo
from cliplit.video import benchmark
from cliplit.video.flicker import flicker, mean_luma, pumping
from cliplit.video.steady import Steadier, View, is_cut
from cliplit.video.synthetic import panning, slideshow

SIZE = (256, 144)


@pytest.fixture(scope="module")
def shipped() -> Enhancer:
    """The network that people use: how steady a network is by itself depends on what it has learned."""
    return Enhancer.load(SHIPPED, "cpu", denoise=False)


@pytest.fixture(scope="module")
def slides() -> list[np.ndarray]:
    return [render_photo("backlit", 9, index) for index in range(3)]


def test_a_pan_flickers_no_more_than_it_did(shipped: Enhancer, capsys: pytest.CaptureFixture[str]) -> None:
    found = benchmark.compare(shipped, "pan", panning(80, SIZE, seed=1))
    with capsys.disabled():
        print(f"\n{found}")
    assert found.flicker <= 1.1 and found.cuts == 0
    assert found.pumping < 0.9 * found.pumping_each


@pytest.mark.parametrize("wobble", [0.0, 0.03])
def test_slides_flicker_no_more_than_they_did_and_less_than_frame_by_frame(
    shipped: Enhancer, slides: list[np.ndarray], wobble: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = benchmark.compare(shipped, f"slides, wobble {wobble}", slideshow(slides, 75, SIZE, wobble=wobble))
    with capsys.disabled():
        print(f"\n{found}")
    assert found.flicker <= 1.1 and found.cuts == 2
    assert found.pumping < 0.9 * found.pumping_each
    if wobble == 0:  # an exposure that wobbles is hidden by a network that follows it; noise is what it adds
        assert found.flicker < 0.6 * found.flicker_each


def test_the_light_is_that_of_the_new_scene_within_two_frames(shipped: Enhancer) -> None:
    dark, bright = render_photo("backlit", 9, 0), render_photo("well_lit", 9, 1)
    film = list(chain(slideshow([dark], 20, SIZE), slideshow([bright], 10, SIZE)))
    steadier, error = Steadier(), []
    for index, frame in enumerate(film):
        own = shipped.predict(frame)
        error.append(float(np.abs(steadier(own, frame, index / 30) - own).mean()))
    assert steadier.cuts == [20]
    jump = float(np.abs(shipped.predict(film[19]) - shipped.predict(film[20])).mean())
    assert jump > 0.1
    assert max(error[20:22]) < 0.1 * jump


def test_a_change_without_a_cut_arrives_slowly_and_by_the_clock() -> None:
    """63 % of the way in TAU seconds, however many frames that are."""
    frame, one, two = np.full((9, 16, 3), 80, np.uint8), np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    for rate in (10, 100):
        steadier = Steadier(tau=0.5)
        for index in range(20 * rate):
            steadier(one, frame, index / rate)
        for index in range(20 * rate, 20 * rate + rate // 2):
            grid = steadier(two, frame, index / rate)
        assert grid.mean() == pytest.approx(1 - np.exp(-1), abs=0.01)


def test_pans_noise_and_exposure_are_no_cuts_and_other_scenes_are() -> None:
    for seed in range(4):
        views = [View(frame) for frame in panning(60, SIZE, seed, noise=4)]
        assert not any(is_cut(*pair) for pair in zip(views, views[1:], strict=False)), seed
    photos = [render_photo("backlit", 1, index) for index in range(10)]
    shown = [next(slideshow([photo], 1, SIZE)) for photo in photos]
    assert sum(is_cut(View(one), View(other)) for one, other in zip(shown, shown[1:], strict=False)) >= 8
    for photo in shown:
        assert not is_cut(View(photo), View((photo * 0.6).astype(np.uint8)))
    assert not is_cut(View(np.zeros((18, 32, 3), np.uint8)), View(np.ones((18, 32, 3), np.uint8)))
    assert is_cut(View(shown[0]), View(shown[0][:10]))


def test_flicker_is_1_for_one_gain_and_counts_what_is_added() -> None:
    rng = np.random.default_rng(0)
    film = 60 + rng.normal(0, 2, 400)
    assert flicker(film, film * 1.8) == pytest.approx(1, abs=1e-3)
    assert flicker(film, film * np.exp(rng.normal(0, 0.05, 400))) > 2
    cut = np.concatenate([film[:200], film[200:] * 3])
    assert flicker(film, cut) > 2 and flicker(film, cut, cuts=[200]) == pytest.approx(1, abs=0.01)
    assert pumping(film, film * 1.8) == pytest.approx(0, abs=0.01)
    assert pumping(film, film * np.exp(rng.normal(0, 0.01, 400))) == pytest.approx(1.41, abs=0.15)
    with pytest.raises(ValueError, match="cannot be compared"):
        flicker([1.0], [])
    assert mean_luma(np.full((4, 4, 3), 65535, np.uint16)) == pytest.approx(255)
