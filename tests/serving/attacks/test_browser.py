"""What hostile web pages can do to the service, tested in Chromium."""

from __future__ import annotations

import contextlib
import functools
import http.server
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser, draw_line
from tests.support.service import Service, drawing, serving

pytestmark = pytest.mark.slow
IMAGES = 'mnist_edge_images_total{model="dense"}'
TOKEN = "token+for/the=page"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("none")) as made:
        yield made


@contextlib.contextmanager
def another_site(folder: Path, page: str) -> Iterator[str]:
    """Serve a page on another port of loopback; yield its address."""
    (folder / "index.html").write_text(page)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{site.server_address[1]}/"
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


def console_warnings(driver: Any) -> list[str]:
    """Warnings and errors in the browser's console: blocked resources, policy violations, failed scripts."""
    return [item["message"] for item in driver.get_log("browser") if item["level"] in ("WARNING", "SEVERE")]


def draw(driver: Any) -> str:
    """Draw a one with the mouse; return the label that the page shows."""
    draw_line(driver, [(0.5, 0.15), (0.5, 0.85)])
    end = time.monotonic() + 15
    label = ""
    while not label.isdigit() and time.monotonic() < end:
        time.sleep(0.1)
        label = driver.execute_script("return document.getElementById('label').textContent")
    return str(label)


def test_a_page_that_reaches_this_machine_under_another_name_is_refused(service: Service, tmp_path: Path) -> None:
    """DNS rebinding: the host name of the attacker's page resolves to this machine."""
    with browser(tmp_path, 1200, False, "host-resolver-rules=MAP evil.example 127.0.0.1") as driver:
        driver.get(f"http://evil.example:{service.port}/")
        assert "is not known as" in driver.page_source
        assert "canvas" not in driver.page_source
        read = driver.execute_async_script(
            "fetch('/v2/models/dense').then(a => a.text()).then(arguments[0], arguments[0])"
        )
        assert "is not known as" in read
        driver.get(f"http://127.0.0.1:{service.port}/")
        assert "canvas" in driver.page_source


def test_a_page_of_another_port_cannot_post_a_picture_or_read_an_answer(service: Service, tmp_path: Path) -> None:
    """Posts that a browser sends without asking the server (no-cors, forms) are refused before decoding."""
    before = service.metric(IMAGES)
    refused = 'mnist_edge_requests_total{route="/v1/digits",status="403"}'
    assert service.metric(refused) == 0
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "one.png").write_bytes(drawing())
    target = f"http://127.0.0.1:{service.port}"
    form = f"""<!doctype html><link rel="icon" href="data:,"><form method="post" enctype="multipart/form-data"
        action="{target}/v1/digits"><input name="a" value="b"></form>"""
    with another_site(tmp_path / "site", form) as site, browser(tmp_path, 1200, False) as driver:
        driver.get(site)
        post = """
        const done = arguments[arguments.length - 1];
        fetch("one.png").then(a => a.blob()).then(picture => fetch(arguments[0] + "/v1/digits",
            {method: "POST", mode: arguments[1], body: new Blob([picture], {type: "text/plain"})}))
            .then(answer => answer.text().then(text => done(answer.type + ":" + text)), error => done(String(error)))
        """
        assert driver.execute_async_script(post, target, "no-cors") in ("opaque:", "TypeError: Failed to fetch")
        assert driver.execute_async_script(post, target, "cors") == "TypeError: Failed to fetch"
        read = "fetch(arguments[0]).then(a => a.text()).then(arguments[1], e => arguments[1](String(e)))"
        assert driver.execute_async_script(read, f"{target}/v1/models") == "TypeError: Failed to fetch"
        driver.execute_script("document.forms[0].submit()")
        end = time.monotonic() + 10
        while "another origin" not in driver.page_source and time.monotonic() < end:
            time.sleep(0.1)
        assert "another origin" in driver.page_source
    assert service.metric(refused) == 3
    assert service.metric(IMAGES) == before


def test_the_page_cannot_be_framed(service: Service, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    page = f'<!doctype html><link rel="icon" href="data:,"><iframe src="http://127.0.0.1:{service.port}/"></iframe>'
    with another_site(tmp_path / "site", page) as site, browser(tmp_path, 1200, False) as driver:
        driver.get(site)
        end = time.monotonic() + 10
        found: list[str] = []
        while not found and time.monotonic() < end:
            time.sleep(0.1)
            found = console_warnings(driver)
        assert any("frame" in line.lower() for line in found), found
        driver.switch_to.frame(0)
        assert not driver.execute_script("return document.querySelector('canvas')")


def test_the_page_works_under_its_policy_over_tls_with_a_token(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """The token in the address becomes a secure cookie, a drawing is read, and the console shows no warning."""
    words = ("--token", TOKEN, "--certfile", certificate[0], "--keyfile", certificate[1])
    with serving(tmp_path, *words) as service, browser(tmp_path, 1200, False, insecure=True) as driver:
        assert service.address.startswith("https://127.0.0.1:")
        driver.get(service.address)
        assert driver.current_url == service.address.partition("?")[0]
        assert draw(driver) == "1"
        assert console_warnings(driver) == []
        cookie = driver.get_cookies()[0]
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        injected = (
            "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)"
        )
        driver.execute_script(injected)
        assert driver.execute_script("return window.bad") is None
        assert any("Content Security Policy" in line for line in console_warnings(driver))
        context = ssl.create_default_context(cafile=str(certificate[0]))
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(service.address.partition("?")[0], context=context)
