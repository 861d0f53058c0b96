"""Connected components and the Euler number, compared with SciPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mnist_edge.vision.components import components, euler_number

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_components_are_those_of_scipy(mask: np.ndarray) -> None:
    labels, found = components(mask)
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    assert len(found) == count
    assert ((labels > 0) == mask).all()
    for item in found:
        mine = labels == item.label
        assert len(np.unique(expected[mine])) == 1
        rows, columns = np.nonzero(mine)
        assert item.area == mine.sum()
        assert (item.top, item.bottom) == (rows.min(), rows.max() + 1)
        assert (item.left, item.right) == (columns.min(), columns.max() + 1)
    assert [item.area for item in found] == sorted((item.area for item in found), reverse=True)


@given(MASKS)
def test_the_euler_number_is_components_minus_holes(mask: np.ndarray) -> None:
    framed = np.pad(mask, 1)
    count = ndimage.label(framed, np.ones((3, 3)))[1]
    holes = ndimage.label(~framed)[1] - 1  # all 4-connected areas of background but the one outside
    assert euler_number(framed) == count - holes
