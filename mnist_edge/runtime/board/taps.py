"""Which layer of a net is wrong on a board: the outputs of each, there and on this machine, for one input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats import c
from mnist_edge.runtime.board.frames import Facts
from mnist_edge.runtime.board.line import Spec
from mnist_edge.runtime.board.link import Link
from mnist_edge.runtime.engines import native


@dataclass(frozen=True)
class Fault:
    """The first layer whose outputs differ; None if it is not known. ``sentence`` says so, or why not."""

    layer: str | None
    sentence: str


def locate(source: bytes, given: NDArray[np.generic], spec: Spec, open_link: Link, facts: Facts) -> Fault:
    """Find the first layer whose outputs on a board differ from those of the same C here.

    An emulated board without taps is started again, with firmware that has them.

    Args:
        source: generated C. given: an input whose answer differs. spec: the board. open_link: to the board as it is.
        facts: what the board has sent about itself.

    Raises:
        MnistEdgeError: see `mnist_edge.runtime.board.line.Spec.open` and `mnist_edge.runtime.board.link.Link`.
    """
    layers = c.facts_of(source)["layers"]
    if facts.layers == len(layers):
        found = open_link.trace(given.tobytes(), facts)
    elif spec.board is None:
        return Fault(None, "The firmware has no taps: build it with -include taps.h.")
    else:
        with spec.open(source, taps=True) as line:
            link = Link(line, spec.text)
            found = link.trace(given.tobytes(), link.hello())
    if not any(found):
        return Fault(None, "The generated C was compiled without -include taps.h.")
    expected = native.layer_checksums(source, given)
    wrong = next((at for at, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]), None)
    if wrong is None:
        which = "in firmware with taps " if facts.layers != len(layers) else ""
        return Fault(None, f"All layers are right {which}for the first such image: the fault lies behind them.")
    layer = layers[wrong]
    return Fault(
        layer["name"], f"The first wrong layer is {layer['name']} ({layer['op']}), {wrong + 1} of {len(layers)}."
    )
