"""A short, deterministic run of every fuzz target, on mutated seeds and on every input that once failed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns import fuzz

EXAMPLES = {"http": 60, "picture": 80}
NUMBERS = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
REGRESSIONS = sorted(path for path in fuzz.REGRESSIONS.rglob("*") if path.is_file())


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """A seed that is cut, overwritten, repeated or extended in one to four places; one time in ten, arbitrary bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(draw(st.sampled_from(fuzz.seeds(target))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "number"]))
        if kind == "cut":
            del content[at : at + draw(st.sampled_from([1, 4, 64, 1 << 20]))]
        elif kind == "number":  # extreme values of lengths and offsets
            content[at : at + 4] = draw(st.sampled_from(NUMBERS)).to_bytes(4, "little")
        elif kind == "repeat":
            content[at:at] = content[at : at + 64]
        else:
            new = draw(st.binary(min_size=1, max_size=8))
            content[at : at + (len(new) if kind == "overwrite" else 0)] = new
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_mutated_inputs_are_read_or_refused_with_a_documented_error(target: str) -> None:
    @settings(
        max_examples=EXAMPLES.get(target, 200), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(mutated(target))
    def run(content: bytes) -> None:
        fuzz.TARGETS[target](content)

    run()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: f"{path.parent.name}-{path.name[:12]}")
def test_an_input_that_once_failed_is_read_or_refused(path) -> None:  # type: ignore[no-untyped-def]
    fuzz.TARGETS[path.parent.name](path.read_bytes())


def test_a_reader_that_fails_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzz target passes on the error of a faulty reader."""
    from mnist_edge.data import idx as reader

    def careless(content: bytes, name: str, dimensions: int) -> object:
        return content[100]

    monkeypatch.setattr(reader, "parse", careless)
    with pytest.raises(IndexError):
        fuzz.idx(b"\0\0\x08\x01")
