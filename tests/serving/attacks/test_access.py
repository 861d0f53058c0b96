"""Access control: tokens, names of this machine, pages of other origins, and security header fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, assert_two_lines
from tests.support.service import DIGITS, HEADERS, INFER, Service, drawing, image_body, post, serving

pytestmark = pytest.mark.slow
TOKEN = "to+ken/with=&signs?"
COOKIE = "mnist-edge-token"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that requires a token."""
    with serving(tmp_path_factory.mktemp("none"), "--token", TOKEN) as made:
        yield made


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on loopback without a token, behind a proxy with another name."""
    with serving(tmp_path_factory.mktemp("none"), "--allow-host", "Digits.example") as made:
        yield made


@pytest.mark.parametrize(
    ("how", "token"),
    [("--token", ""), ("--token", "   "), ("--token", "short"), ("--token", "zo\u00eb-zo\u00eb-zo\u00eb"),
     ("--token", "with\nnewline"), ("MNIST_EDGE_TOKEN", ""), ("MNIST_EDGE_TOKEN", "\t")],
)  # fmt: skip
def test_a_token_that_is_blank_or_cannot_be_sent_is_a_usage_error(
    cli: Callable[..., Run], tmp_path: Path, token: str, how: str
) -> None:
    words = ["serve", "--host", "0.0.0.0", "--port", 0, "-o", tmp_path]
    run = cli(*words, "--token", token) if how == "--token" else cli(*words, env={how: token})
    assert_two_lines(run, 2)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER "])
def test_the_scheme_of_a_token_is_accepted_in_any_case(locked: Service, scheme: str) -> None:
    assert locked.ask("/v2", headers={"Authorization": f"{scheme} {TOKEN}"}).status == 200


@pytest.mark.parametrize(
    "value", ["", TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x",
              f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}", "Bearer " + "x" * 10_000]
)  # fmt: skip
def test_only_the_token_with_its_scheme_is_accepted(locked: Service, value: str) -> None:
    answer = locked.ask("/v2", headers={"Authorization": value})
    assert (answer.status, bool(answer.error)) == (401, True)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_every_path_but_health_requires_the_token(locked: Service) -> None:
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/v1/models", "/v2", "/v2/models/dense", "/v2/models/stats",
                 "/v2/models/dense/config", "/v1/models/dense", "/v1/models/dense/metadata"):  # fmt: skip
        assert locked.ask(path).status == 401, path
        assert locked.ask(f"{path}?token=wrong").status == 401, path
    for path in (INFER, DIGITS, "/v2/repository/index", "/v1/models/dense:predict"):
        assert locked.ask(path, b"{}").status == 401, path
    assert locked.ask("/v2/health/live").status == locked.ask("/v2/health/ready").status == 200


def test_a_header_or_a_link_with_the_token_overrides_an_old_cookie(locked: Service) -> None:
    stale = {"Cookie": f"{COOKIE}=of-another-service"}
    assert locked.ask("/v2", headers={**stale, "Authorization": f"Bearer {TOKEN}"}).status == 200
    link = locked.ask(locked.address.partition(str(locked.port))[2], headers=stale)
    assert (link.status, link.headers["location"]) == (303, "/")
    fields = link.headers["set-cookie"]
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in fields.split(";")}
    cookie = fields.partition(";")[0]
    assert locked.ask("/", headers={"Cookie": cookie}).status == 200
    assert locked.ask("/v2", headers={"Cookie": cookie, "Authorization": "Bearer wrong-wrong"}).status == 401


def test_the_printed_address_is_percent_encoded(locked: Service) -> None:
    assert locked.address.endswith("/?token=to%2Bken%2Fwith%3D%26signs%3F")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost.", "digits.example", "DIGITS.EXAMPLE"]
)
def test_requests_with_a_name_of_this_machine_are_answered(opened: Service, host: str) -> None:
    assert opened.ask("/v2", headers={"Host": f"{host}:{opened.port}"}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "x", "[",
                                  "a@localhost", "localhost@evil.example"])  # fmt: skip
def test_requests_with_another_name_are_refused(opened: Service, host: str) -> None:
    """DNS rebinding: the attacker's host name resolves to this machine."""
    for path in ("/", "/v2", "/metrics", "/v2/health/ready"):
        answer = opened.ask(path, headers={"Host": host})
        assert (answer.status, bool(answer.error)) == (403, True), path
    assert opened.send(b"GET /v2 HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")  # no Host at all


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "null",
        "",
        "https://127.0.0.1",
        "file://",
        "x",
        "http://[",
        "http://digits.example.evil.example",
    ],
)
def test_a_page_of_another_origin_may_not_post(opened: Service, locked: Service, origin: str) -> None:
    """Another port of this machine is another origin. The request is refused before its picture is classified."""
    before = opened.metric('mnist_edge_images_total{model="dense"}')
    fields = {"Origin": origin, "Content-Type": "text/plain"}
    for path, body in ((DIGITS, drawing()), (INFER, image_body()), ("/v2/repository/index", b"{}")):
        answer = opened.ask(path, body, fields)
        assert (answer.status, bool(answer.error)) == (403, True)
        assert locked.ask(path, body, {**fields, "Cookie": f"{COOKIE}={TOKEN}"}).status == 403
    assert opened.metric('mnist_edge_images_total{model="dense"}') == before


def test_pages_of_the_service_and_of_an_allowed_proxy_may_post(opened: Service) -> None:
    own = f"127.0.0.1:{opened.port}"
    assert opened.ask(DIGITS, drawing(), {"Host": own, "Origin": f"http://{own}"}).status == 200
    assert opened.ask(DIGITS, drawing(), {"Host": own, "Origin": "https://digits.example"}).status == 200
    assert opened.ask(DIGITS, drawing()).status == 200  # no browser


def test_every_response_has_security_header_fields(opened: Service, locked: Service) -> None:
    answers = [opened.ask(path) for path in ("/", "/docs", "/v2", "/metrics", "/none")]
    answers += [locked.ask("/"), opened.ask(DIGITS, drawing()), opened.ask(DIGITS, b"text")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    for answer in answers[:2]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "head",
    [b"GET http://evil.example/v2 HTTP/1.1\r\n", b"CONNECT localhost:80 HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n",
     b"GET /../../etc/passwd HTTP/1.1\r\n", b"GET /%2e%2e/%00 HTTP/1.1\r\n", b"GET /\xff HTTP/1.1\r\n",
     b"GET // HTTP/1.1\r\n", b"GET /v2 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
     b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01\x02\x00\r\n",
     b"GET /v2 HTTP/9.9\r\n", b"POST /v1/digits HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
     b"POST /v1/digits HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
     b"POST /v1/digits HTTP/1.1\r\nTransfer-Encoding: gzip\r\n",
     b"POST /v1/digits HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n",
     b"GET /v2/models/%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n"],
)  # fmt: skip
def test_a_malformed_head_is_answered_or_refused_and_the_service_continues(opened: Service, head: bytes) -> None:
    answer = opened.send(head + HEADERS + b"Connection: close\r\n\r\n", timeout=3)
    status = answer.split(maxsplit=2)[1]
    assert status in (b"200", b"400", b"403", b"404", b"405", b"413"), answer[:300]
    assert b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]
    assert opened.send(post("/v2/repository/index", b"{}", b"Connection: close")).startswith(b"HTTP/1.1 200 ")
