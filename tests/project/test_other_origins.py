"""The benchmark of digits of other origins: what it reads and draws."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from benchmarks import other_origins

# A one of one stroke and a seven of two, y upwards, in the format of UCI's pendigits.
UNIPEN = """.SEGMENT DIGIT 0 ? "1"
.PEN_DOWN
 250 400
 250 100
.PEN_UP
.SEGMENT DIGIT 1 ? "7"
.PEN_DOWN
 150 400
 350 400
 250 100
.PEN_UP
.DT 100
.PEN_DOWN
 200 250
 330 250
.PEN_UP
"""


def test_trajectories_are_read_with_labels_strokes_and_y_downwards(tmp_path: Path) -> None:
    (tmp_path / "digits.gz").write_bytes(gzip.compress(UNIPEN.encode()))
    one, seven = other_origins.trajectories(tmp_path / "digits.gz")
    assert one == (1, [[(250, -400), (250, -100)]])
    assert seven[0] == 7
    assert [len(stroke) for stroke in seven[1]] == [3, 2]


def test_a_trajectory_is_drawn_upright_in_the_middle_and_read_by_both_ways(tmp_path: Path) -> None:
    (tmp_path / "digits.gz").write_bytes(gzip.compress(UNIPEN.encode()))
    digits = [
        other_origins.Digit("drawn", other_origins.drawn(strokes, 160, 60), label)
        for label, strokes in other_origins.trajectories(tmp_path / "digits.gz")
    ]
    for digit in digits:
        down, across = np.nonzero(digit.ink)
        assert abs(down.min() + down.max() - 159) <= 2
        assert abs(across.min() + across.max() - 159) <= 2
    session = other_origins.open_session(other_origins.SHIPPED / "cnn" / "cnn-int8.tflite", "litert")
    readings = other_origins.Readings.of(session, digits)
    rows = list(other_origins.rows(readings, "cnn", digits))
    assert rows == ["| cnn | drawn | 2 | 0.00 | 0.00 | 0.00 |", "| cnn | all | 2 | 0.00 | 0.00 | 0.00 |"]


def test_a_reason_counts_the_digits_it_loses_and_the_other_pictures_it_stops() -> None:
    session = other_origins.open_session(other_origins.SHIPPED / "cnn" / "cnn-int8.tflite", "litert")
    readings = other_origins.Readings(
        np.array([False, True, False, False]), np.array([True, True, False, True]), ["noise", "noise", None, None]
    )
    blank = other_origins.on_paper(np.zeros((40, 40), np.uint8), np.random.default_rng(0))
    assert list(other_origins.reason_rows(session, "cnn", readings, [blank])) == [
        "| cnn | noise | 50.00 | 25.00 | 0.00 |",
        "| cnn | blank | 0.00 | 0.00 | 100.00 |",
        "| cnn | none: another label than the network's alone | | 25.00 | |",
    ]


def test_the_widths_of_strokes_and_of_a_digit_are_shares_of_its_height() -> None:
    """Widths measured on a drawn cross and on a drawn ring, against those that were drawn."""
    cross = np.zeros((100, 100), np.uint8)
    cross[10:90, 47:53] = cross[47:53, 30:70] = 255
    weight, ratio = other_origins.shape_of(cross)
    assert 0.9 * 6 / 80 < weight < 1.35 * 6 / 80  # sides along the axes count 4 / pi times as much as others
    assert ratio == 0.5
    distance = np.hypot(*(np.mgrid[:100, :100] - 50))
    weight, ratio = other_origins.shape_of((255 * (abs(distance - 35) < 4)).astype(np.uint8))
    assert abs(weight - 8 / 78) < 0.01
    assert ratio == 1
