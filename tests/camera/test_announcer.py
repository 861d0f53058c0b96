"""The announcer: each digit once, when it is stable."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_edge.camera.announcer import Announcer, News, Rules
from mnist_edge.results import Prediction

BOX = (100, 100, 40, 60)


def seen(label: int | None, box: tuple[int, int, int, int] = BOX, confidence: float = 0.99) -> Prediction:
    return Prediction("", label=label, confidence=confidence, box=box)


def run(frames: list[list[Prediction]], rules: Rules | None = None) -> list[News]:
    announcer = Announcer(rules or Rules())
    return [announcer.update(frame) for frame in frames]


def labels(news: list[News]) -> list[int]:
    return [item.label for frame in news for item in frame.stable]


def test_a_digit_that_stays_is_announced_once_in_the_frame_in_which_it_becomes_stable() -> None:
    rules = Rules()
    news = run([[seen(7)]] * 100)
    assert labels(news) == [7]
    assert len(news[rules.agree - 1].stable) == 1
    assert news[rules.agree - 1].stable[0].confidence == pytest.approx(0.99)


def test_a_moving_digit_is_announced_once_and_two_that_pass_side_by_side_once_each() -> None:
    frames = [[seen(3, (10 + 8 * at, 50, 40, 60)), seen(5, (10 + 8 * at, 115, 40, 60))] for at in range(60)]
    assert sorted(labels(run(frames))) == [3, 5]


def test_a_label_of_few_frames_is_not_announced() -> None:
    rules = Rules()
    assert labels(run([[seen(4)]] * (rules.agree - 1) + [[]] * 50)) == []
    flicker = [[seen(at % 2)] for at in range(100)]
    assert labels(run(flicker)) == []


def test_a_digit_that_comes_back_is_announced_again_only_if_it_was_gone_long_enough() -> None:
    gone = Rules().forgotten
    shown = [[seen(8)]] * 10
    assert labels(run([*shown, *[[]] * (gone - 1), *shown])) == [8]
    assert labels(run([*shown, *[[]] * gone, *shown])) == [8, 8]


def test_another_digit_in_the_same_place_is_announced_too() -> None:
    assert labels(run([[seen(1)]] * 20 + [[seen(2)]] * 20)) == [1, 2]


def test_a_label_with_little_confidence_is_not_announced_but_unsure() -> None:
    news = run([[seen(6, confidence=0.85)]] * 30)
    assert labels(news) == []
    assert [box for frame in news for box in frame.unsure] == [BOX]


def test_a_figure_without_a_label_is_unsure_once_and_an_announced_digit_never() -> None:
    news = run([[seen(None)]] * 40)
    assert [len(frame.unsure) for frame in news].count(1) == 1
    assert sum(len(frame.unsure) for frame in run([[seen(6)]] * 20 + [[seen(None)]] * 20)) == 0


def test_predictions_without_a_box_are_left_out() -> None:
    announcer = Announcer()
    for _ in range(20):
        assert announcer.update([Prediction("", reason="blank")]) == News()
    assert announcer.tracks == []


@pytest.mark.parametrize("wrong", [{"agree": 3, "window": 7}, {"agree": 8, "window": 7}, {"forgotten": 0}])
def test_rules_that_contradict_each_other_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="contradict"):
        Rules(**wrong)


boxes = st.tuples(st.integers(0, 640), st.integers(0, 480), st.integers(0, 200), st.integers(0, 200))
predictions = st.builds(seen, st.none() | st.integers(0, 9), boxes, st.floats(0, 1))
videos = st.lists(st.lists(predictions, max_size=4), max_size=60)


@given(videos)
@settings(max_examples=60, deadline=None)
def test_whatever_is_seen_announcements_are_finite_rare_and_of_what_was_seen(video: list[list[Prediction]]) -> None:
    rules = Rules()
    announcer = Announcer(rules)
    total, announced = 0, 0
    for frame in video:
        news = announcer.update(frame)
        total += len(frame)
        announced += len(news.stable)
        assert len(announcer.tracks) <= 4 * rules.forgotten  # so the memory does not grow with the video
        for item in news.stable:
            assert math.isfinite(item.confidence) and 0 <= item.confidence <= 1
            assert item.box in [seen.box for seen in frame]
            assert item.label in {seen.label for earlier in video for seen in earlier}
    # Another label in between has filled most of the window, so that at least so many frames of each count once only.
    assert announced * (2 * rules.agree - rules.window) <= total


@given(st.integers(0, 9), st.lists(st.booleans(), min_size=20, max_size=80))
@settings(max_examples=60, deadline=None)
def test_one_digit_that_is_missed_in_some_frames_is_never_announced_twice(label: int, found: list[bool]) -> None:
    rules = Rules()
    news = run([[seen(label)] if is_found else [] for is_found in found])
    gaps = "".join("x" if is_found else "." for is_found in found).strip(".").split("x")
    most = 1 + sum(len(gap) >= rules.forgotten for gap in gaps)
    assert len(labels(news)) <= most
