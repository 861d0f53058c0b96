"""Parts of the attack campaign: bombs have the sizes that they should, and each fault makes the campaign fail."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from tests.campaigns.attacks import greedy, pictures
from tests.campaigns.attacks.clients import ClientResults
from tests.campaigns.attacks.health import Health
from tests.campaigns.attacks.processes import Memory
from tests.campaigns.attacks.report import Facts, Options, report
from tests.campaigns.attacks.wire import Ledger, Target, is_typed

OPTIONS = Options(1, 256, None, True, (), ("one", "two"))


def good_facts() -> Facts:
    health = {kind: Health([1.0] * 100) for kind in ("same connection", "new connection")}
    reports: dict[str, Any] = {
        "clients": ClientResults({"V2 JSON": Counter({"200": 10})}, seconds=[0.1]),
        "health": health,
    }
    ledgers = {"one": Ledger(Counter({"400": 3})), "two": Ledger(Counter({"503": 1}))}
    memory = Memory(60, 90)
    return Facts(start=memory, peak=Memory(200, 230), afterwards=memory, sigterm_seconds=1.0, reports=reports | ledgers)


def lose(facts: Facts) -> None:
    facts.reports["clients"].lost.append("drawing: 504")


def slow_health(facts: Facts) -> None:
    facts.reports["health"]["new connection"].times[:2] = [150.0, 150.0]


def untyped(facts: Facts) -> None:
    facts.reports["two"].judge(500, b"Internal Server Error")


def read_refused(facts: Facts) -> None:
    facts.reports["one"].count("refused: eps was read")


def silent(facts: Facts) -> None:
    del facts.reports["two"]


def died(facts: Facts) -> None:
    facts.died = 0.5


def killed(facts: Facts) -> None:
    facts.oom_kills = 1


def large(facts: Facts) -> None:
    facts.peak = Memory(257, 300)


def grown(facts: Facts) -> None:
    facts.afterwards = replace(facts.start, rss=facts.start.rss + 21)


def does_not_end(facts: Facts) -> None:
    facts.sigterm_seconds = None


def test_a_campaign_without_a_fault_passes() -> None:
    lines, passed = report(OPTIONS, good_facts())
    assert passed, lines


@pytest.mark.parametrize(
    "fault",
    [lose, slow_health, untyped, read_refused, silent, died, killed, large, grown, does_not_end],
    ids=lambda fault: fault.__name__,
)
def test_one_fault_fails_the_campaign(fault: Callable[[Facts], None]) -> None:
    facts = good_facts()
    fault(facts)
    lines, passed = report(OPTIONS, facts)
    assert not passed
    assert sum(line.endswith("| **no** |") for line in lines) == 1


@pytest.mark.parametrize(
    ("body", "typed"),
    [
        (b'{"error": "The queue is full."}', True),
        (b'{"error": "This is a bug of mnist-edge; its log says more."}', False),
        (b"Internal Server Error", False),
        (b'["error"]', False),
        (b"[" * 100_000, False),
    ],
)
def test_an_error_is_typed_if_it_is_a_json_object_that_names_no_bug(body: bytes, typed: bool) -> None:
    assert is_typed(body) is typed


@pytest.mark.parametrize(
    ("make", "kind", "side"),
    [
        (lambda: pictures.png(pictures.SIDE), "PNG", pictures.SIDE),
        (lambda: pictures.jpeg(pictures.SIDE), "JPEG", pictures.SIDE),
        (pictures.webp, "WEBP", pictures.WEBP_SIDE),
        (pictures.gif, "GIF", pictures.SIDE),
        (lambda: pictures.bmp(pictures.SIDE), "BMP", pictures.SIDE),
        (lambda: pictures.tiff(pictures.SIDE), "TIFF", pictures.SIDE),
    ],
    ids=["png", "jpeg", "webp", "gif", "bmp", "tiff"],
)
def test_a_picture_bomb_is_small_and_claims_to_be_large(
    make: Callable[[], bytes], kind: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    content = make()
    assert len(content) < 2**20
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.size) == (kind, (side, side))


def test_no_bomb_exceeds_the_largest_accepted_body() -> None:
    size = Target.body_bytes
    bodies = [body for _, body in greedy.bombs(size)]
    assert max(map(len, [*bodies, greedy.parts(size), greedy.pictures(631, size)])) <= size
