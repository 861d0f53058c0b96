"""Grouping of components into figures, and the order in which figures are read."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_edge.vision.components import Component, components
from mnist_edge.vision.figures import Figure, group_into_figures, reading_order

SHAPE = (300, 400)


def component(left: int, top: int, width: int, height: int, label: int = 1) -> Component:
    return Component(left, top, left + width, top + height, label, width * height)


def grouped(*parts: Component) -> list[tuple[int, ...]]:
    """Labels of the components of each figure."""
    ordered = sorted(parts, key=lambda item: -item.area)
    return [tuple(sorted(part.label for part in figure.parts)) for figure in group_into_figures(ordered, SHAPE)]


def test_the_separate_bar_of_a_five_belongs_to_it_and_the_next_digit_does_not() -> None:
    body = component(100, 100, 50, 80, 1)
    assert grouped(body, component(100, 88, 50, 8, 2)) == [(1, 2)]
    assert grouped(body, component(160, 100, 50, 80, 2)) == [(1,), (2,)]


@pytest.mark.parametrize(("gap", "is_joined"), [(7, True), (9, False)])
def test_a_component_as_tall_as_the_figure_must_be_nearer_than_a_tenth_of_its_size(gap: int, is_joined: bool) -> None:
    found = grouped(component(100, 100, 50, 80, 1), component(150 + gap, 100, 20, 80, 2))
    assert found == ([(1, 2)] if is_joined else [(1,), (2,)])


def test_a_component_that_touches_the_edge_is_left_out_if_a_large_one_does_not() -> None:
    shade = component(0, 0, 30, 300, 1)
    assert grouped(shade, component(150, 100, 40, 60, 2)) == [(2,)]
    assert grouped(shade, component(150, 100, 10, 10, 2)) == [(1,), (2,)]


def test_figures_are_read_line_by_line_from_the_left() -> None:
    boxes = [(200, 20, 40, 60), (20, 30, 40, 60), (110, 5, 40, 60), (150, 150, 40, 60), (30, 140, 40, 60)]
    figures = [Figure.of([component(*box, label)]) for label, box in enumerate(boxes, start=1)]
    assert [figure.parts[0].label for figure in reading_order(figures)] == [2, 3, 1, 5, 4]


def test_the_mask_of_a_figure_holds_the_pixels_of_its_components_alone() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[1, 1:4] = mask[4, 4] = mask[7, 6:9] = True
    labels, parts = components(mask)
    figure = Figure.of([item for item in parts if item.area == 3])
    assert figure.area == 6
    assert np.array_equal(figure.mask(labels), mask & (np.arange(9)[:, np.newaxis] != 4))
