"""Chromium driven by Selenium, and checks that every page must pass."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import unavailable

OPTIONS = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
           "disable-component-update", "disable-sync")  # fmt: skip

# Number of mouse or touch events between two corners of a line.
PARTS = 5


@contextlib.contextmanager
def browser(folder: Path, width: int, dark: bool, *words: str, insecure: bool = False) -> Iterator[Any]:
    """Start Chromium and yield its driver.

    Args:
        folder: for the browser's profile.
        width: of the window, in pixels; below 500 it emulates a phone with a touch screen.
        dark: prefer dark colours.
        words: more options of Chromium.
        insecure: accept self-signed certificates.
    """
    browser_path, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser_path or not driver_path:
        unavailable("chromium with chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser_path
    options.accept_insecure_certs = insecure
    for word in (*OPTIONS, *words, f"user-data-dir={folder}/{width}{dark}"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        emulate(driver, width, dark)
        yield driver
    finally:
        driver.quit()


def emulate(driver: Any, width: int, dark: bool) -> None:
    """Set the width of the window and the preferred colours, as `browser` does."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 500, "maxTouchPoints": 1})
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)


def cut_network(driver: Any) -> None:
    """Let every request to a network fail; files are still read."""
    driver.execute_cdp_cmd("Network.enable", {})
    none = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", none)


def draw_line(driver: Any, corners: Sequence[tuple[float, float]], touch: bool = False) -> None:
    """Draw one line on the page's drawing pad with the mouse or a finger.

    Args:
        driver: of a browser that shows the page.
        corners: points of the line, as fractions of the pad's width and height.
        touch: draw with a finger.
    """
    left, top, width, height = driver.execute_script(
        "const b = pad.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]"
    )
    path = [(left + x * width, top + y * height) for x, y in corners]
    steps = [
        tuple(a + (b - a) * part / PARTS for a, b in zip(one, two, strict=True))
        for one, two in itertools.pairwise(path)
        for part in range(PARTS + 1)
    ]
    send = driver.execute_cdp_cmd
    for at, (x, y) in enumerate(steps):
        if touch:
            kind = "touchMove" if at else "touchStart"
            send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        else:
            common = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            send("Input.dispatchMouseEvent", {"type": "mouseMoved" if at else "mousePressed", **common})
    if touch:
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        x, y = steps[-1]
        send("Input.dispatchMouseEvent", {"type": "mouseReleased", "x": x, "y": y, "button": "left"})


def requests_of(driver: Any, page: str) -> list[str]:
    """Addresses that a page has requested; those of other pages in the browser's log are left out."""
    events = [json.loads(item["message"])["message"] for item in driver.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [item["request"]["url"] for item in sent if item["documentURL"] == page]


def assert_accessible(driver: Any, width: int) -> None:
    """Check that the page does not scroll horizontally, and that the checker axe finds no violation."""
    import axe_core_python

    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_script((Path(axe_core_python.__file__).parent / "axe.min.js").read_text())
    found = driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert [item["id"] for item in found["violations"]] == [], found["violations"]
    assert len(found["passes"]) > 10
