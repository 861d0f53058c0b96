"""The page of `export --format wasm` in Chromium: from a file, with the network cut."""

from __future__ import annotations

import base64
import gzip
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mnist_edge import data
from mnist_edge.conversion import c, wasm, web, web_page
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.runtime.session import default_contract
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.export_web import web_model
from tests.conftest import ROOT, Run
from tests.support import int8_nets
from tests.support.browser import assert_accessible, browser, cut_network, draw_line, emulate, requests_of
from tools.docs_site import shipped_page

pytestmark = pytest.mark.slow
SEVEN = [(0.25, 0.25), (0.45, 0.24), (0.7, 0.25), (0.62, 0.4), (0.52, 0.6), (0.45, 0.8)]
VIEWS = [(1200, False), (390, False), (1200, True), (390, True)]


def photograph(digit: NDArray[np.uint8], size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A digit of MNIST in dark ink on bright paper, with the noise of a camera."""
    random = np.random.default_rng(0)
    ink = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC), np.float64)
    grey = np.full(size[::-1], 205.0)
    top, left = (size[1] - 280) // 2, (size[0] - 280) // 2 + 40
    grey[top : top + 280, left : left + 280] -= 0.62 * ink
    grey += random.normal(0, 2.5, grey.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=92)
    return stream.getvalue()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of the shipped models."""
    folder = tmp_path_factory.mktemp("pages")
    made = {model: folder / f"{model}.html" for model in ("dense", "cnn")}
    for model, path in made.items():
        path.write_bytes(shipped_page(model))
    return made


@pytest.fixture(scope="module")
def digit(mnist: data.Splits) -> tuple[NDArray[np.uint8], int]:
    """The first test image of a four, and its label."""
    at = int(np.flatnonzero(mnist.test.labels == 4)[0])
    return mnist.test.images[at, ..., 0], 4


@pytest.fixture(scope="module")
def driver(digit: tuple[NDArray[np.uint8], int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a network, whose camera shows a digit."""
    folder = tmp_path_factory.mktemp("chromium")
    (folder / "camera.mjpeg").write_bytes(jpeg(photograph(digit[0])) * 4)
    words = (
        "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
        f"use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
    )  # fmt: skip
    with browser(folder, 1200, False, *words) as made:
        cut_network(made)
        yield made


def text_of(driver: Any, name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def wait(driver: Any, name: str, accepted: Callable[[str], bool]) -> str:
    """Wait until the text of an element is accepted; return it."""
    end = time.monotonic() + 15
    while not accepted(text := text_of(driver, name)) and time.monotonic() < end:
        time.sleep(0.03)
    assert accepted(text), f"{name}: {text!r}; trouble: {text_of(driver, 'trouble')!r}"
    return text


def opened(driver: Any, path: Path, fragment: str = "") -> str:
    """Open a page from its file; return its address and what it says of its verification."""
    driver.get("about:blank")
    driver.get(path.as_uri() + fragment)
    return wait(driver, "verified", lambda text: "erified" in text or "failed" in text)


def give(driver: Any, picture: Path, kind: str) -> None:
    """Drop a picture on the page, or paste it."""
    driver.execute_script(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0)), data = new DataTransfer();
        data.items.add(new File([bytes], "picture.png", {type: "image/png"}));
        const options = {dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true};
        pad.dispatchEvent(new (arguments[1] === "drop" ? DragEvent : ClipboardEvent)(arguments[1], options));
        """,
        base64.b64encode(picture.read_bytes()).decode(),
        kind,
    )


def screenshot(driver: Any, name: str) -> None:
    if os.environ.get("SCREENSHOTS"):
        time.sleep(0.3)
        driver.save_screenshot(f"{os.environ['SCREENSHOTS']}/{name}.png")


def test_a_drawn_seven_is_read_on_an_accessible_page_without_requests(driver: Any, pages: dict[str, Path]) -> None:
    for width, dark in VIEWS:
        emulate(driver, width, dark)
        verified = opened(driver, pages["dense"])
        assert verified.startswith("Verified on ") and verified.endswith(" images: 0 differ.")
        assert text_of(driver, "words") == "Nothing drawn yet."
        draw_line(driver, SEVEN, touch=width < 500)
        wait(driver, "label", "7".__eq__)
        assert text_of(driver, "words").startswith("7 (")
        wait(driver, "answer-text", lambda text: text.startswith("7 ("))
        assert "The network takes" in text_of(driver, "time")
        assert driver.execute_script("return [seen.width, seen.height, scrollY]") == [28, 28, 0]
        assert_accessible(driver, width)
        screenshot(driver, f"web-{width}-{'dark' if dark else 'light'}")
        assert set(requests_of(driver, pages["dense"].as_uri())) == {pages["dense"].as_uri()}
        driver.find_element("id", "undo").send_keys("\n")
        wait(driver, "words", "Nothing drawn yet.".__eq__)
    assert [item for item in driver.get_log("browser") if item["level"] == "SEVERE"] == []


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_the_documented_sizes_are_those_of_the_files(pages: dict[str, Path], model: str) -> None:
    page = pages[model].read_text()
    module = page[page.index('<script type="module">') + len('<script type="module">') : page.index("\n{\n")].encode()
    sizes = [len(module), len(gzip.compress(module, 9)), len(page.encode())]
    lines = (ROOT / "docs" / "browser.md").read_text().splitlines()
    (row,) = (line for line in lines if line.count("|") == 5 and line.startswith(f"| `{model}` |"))
    assert [int(cell.replace(",", "")) for cell in row.split("|")[2:5]] == pytest.approx(sizes, rel=0.02)


def test_a_request_is_refused_by_the_pages_policy(driver: Any, pages: dict[str, Path]) -> None:
    opened(driver, pages["dense"])
    script = "fetch('http://127.0.0.1:1/').then(arguments[0], arguments[0])"
    driver.execute_async_script(script)
    assert any("Content Security Policy" in item["message"] for item in driver.get_log("browser"))


def test_an_uploaded_dropped_or_pasted_picture_is_answered_as_predict_answers_it(
    driver: Any, pages: dict[str, Path], digit: tuple[NDArray[np.uint8], int], tmp_path: Path, cli: Callable[..., Run]
) -> None:
    picture = tmp_path / "four.png"
    photograph(digit[0]).save(picture)
    predicted = cli("predict", picture, "--model", "dense").out.splitlines()[0].partition(": ")[2]
    assert predicted.startswith("4 (")
    emulate(driver, 1200, False)
    opened(driver, pages["dense"])
    driver.find_element("id", "file").send_keys(str(picture))
    wait(driver, "words", predicted.__eq__)
    screenshot(driver, "web-picture")
    for kind in ("drop", "paste"):
        driver.find_element("id", "clear").click()
        wait(driver, "words", "Nothing drawn yet.".__eq__)
        give(driver, picture, kind)
        wait(driver, "words", predicted.__eq__)
    blank = tmp_path / "blank.png"
    Image.new("L", (300, 200), 250).save(blank)
    driver.find_element("id", "file").send_keys(str(blank))
    wait(driver, "words", "No answer: blank.".__eq__)
    (tmp_path / "text.png").write_text("no picture")
    driver.find_element("id", "file").send_keys(str(tmp_path / "text.png"))
    wait(driver, "trouble", lambda text: text.startswith("text.png is no picture"))


def test_the_camera_is_read_live_and_a_refusal_says_what_to_do(
    driver: Any, pages: dict[str, Path], digit: tuple[NDArray[np.uint8], int]
) -> None:
    emulate(driver, 390, False)
    opened(driver, pages["dense"])
    driver.find_element("id", "camera").click()
    wait(driver, "label", str(digit[1]).__eq__)
    wait(driver, "time", lambda text: "Camera: 640 x 480" in text and "frames a second" in text)
    wait(driver, "answer-text", str(digit[1]).__eq__)
    screenshot(driver, "web-camera")
    assert_accessible(driver, 390)
    driver.find_element("id", "camera").click()
    wait(driver, "words", "Nothing drawn yet.".__eq__)
    assert text_of(driver, "camera") == "Camera"
    remedies = {"NotAllowedError": "Allow it", "NotFoundError": "found no camera", "OddError": "OddError"}
    for name, remedy in remedies.items():
        refuse = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', arguments[0]))"
        driver.execute_script(refuse, name)
        driver.find_element("id", "camera").click()
        wait(driver, "trouble", lambda text, remedy=remedy: remedy in text)
        assert text_of(driver, "camera") == "Camera"
    draw_line(driver, SEVEN, touch=True)
    wait(driver, "label", "7".__eq__)


@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_the_answers_to_the_test_images_are_those_of_the_c(
    driver: Any, pages: dict[str, Path], mnist: data.Splits, model: str
) -> None:
    """All 10,000 images; without vectors cnn answers 1,000, to save time."""
    # Plain C compiles faster, the other kernels answer faster.
    backend = "c99" if model == "dense" else "all"
    code = c.from_tflite((SHIPPED / model / f"{model}-int8.tflite").read_bytes(), model, backend=backend)
    expected = native.load(code, 1).run(mnist.test.images)
    driver.set_script_timeout(120)
    opened(driver, pages[model])
    images = base64.b64encode(mnist.test.images.tobytes()).decode()
    driver.execute_script("window.images = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0))", images)
    for simd, count in ((True, 10_000), (False, 10_000 if model == "dense" else 1_000)):
        used, answers = driver.execute_async_script(
            """
            const [simd, size, done] = arguments;
            mnistEdge.load({simd}).then(model => done([model.simd, model.outputs(images.subarray(0, size)).join()]));
            """,
            simd,
            mnist.test.images[:count].size,
        )
        assert used is simd
        assert np.array_equal(np.array(answers.split(","), np.int64).reshape(count, -1), expected[:count])
    opened(driver, pages[model], "#fallback")
    assert "without SIMD" in text_of(driver, "facts")


def test_a_model_in_colour_takes_pictures_and_no_drawings(driver: Any, tmp_path: Path) -> None:
    net = int8_nets.begun(5, 12, 18, 3)
    net.conv(6, (3, 3), (2, 2), 1)
    file = tmp_path / "colours.tflite"
    file.write_bytes(int8_nets.ended(net, 24))
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (8, 12, 18, 3), np.uint8)
    contract = default_contract("colours", 24, 1 / 255)
    module = wasm.convert_given(
        file.read_bytes(), ConversionRequest(Precision.INT8, images, contract, tmp_path / "log", wasm.BACKEND)
    )
    path = tmp_path / "colours.html"
    files = web.files(web_model("colours", module, None, images))
    assert b"| page | `colours.html`" in files["README.md"]
    path.write_bytes(files["colours.html"])
    picture = tmp_path / "picture.png"
    blocks = Image.fromarray(random.integers(0, 256, (4, 6, 3), np.uint8))
    blocks.resize((300, 200), Image.Resampling.NEAREST).save(picture)
    predicted = predict_picture(open_session(file), str(picture))[0].prediction
    emulate(driver, 390, True)
    assert opened(driver, path) == "Verified on 8 images: 0 differ."
    assert text_of(driver, "words") == "No picture yet."
    draw_line(driver, SEVEN, touch=True)
    time.sleep(0.3)  # in which a drawing would be read
    assert text_of(driver, "words") == "No picture yet."
    driver.find_element("id", "file").send_keys(str(picture))
    wait(driver, "words", f"{predicted.name} ({predicted.confidence:.1%})".__eq__)
    first = driver.execute_script("return document.querySelector('#bars li').textContent")
    assert first == f"{predicted.name}{predicted.confidence:.1%}"
    assert not driver.find_element("id", "undo").is_displayed()
    assert_accessible(driver, 390)
    screenshot(driver, "web-colours")


def changed(path: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of a page with another text in it."""
    text = path.read_text()
    assert text.count(old) == 1
    made = folder / "changed.html"
    made.write_text(text.replace(old, new))
    return made


def test_a_page_that_is_damaged_or_fails_its_self_test_does_not_answer(
    driver: Any, pages: dict[str, Path], digit: tuple[NDArray[np.uint8], int], tmp_path: Path
) -> None:
    picture = tmp_path / "digit.png"
    photograph(digit[0]).save(picture)
    emulate(driver, 1200, False)
    text = pages["dense"].read_text()
    middle = text.index('const MODULE = "') + 60_000
    opened(
        driver, changed(pages["dense"], tmp_path, text[middle : middle + 40], text[middle : middle + 39][::-1] + "A")
    )
    assert text_of(driver, "verified").startswith("Not verified")
    assert_refuses(driver, picture)
    module = text[text.index('<script type="module">') + len('<script type="module">') : text.index("\n{\n")]
    wrong = tmp_path / "wrong.html"
    wrong.write_bytes(web_page.page("dense", module.replace("differing === 0", "differing === 1"), "digit"))
    opened(driver, wrong)
    assert text_of(driver, "verified").startswith("Verification failed, so the page does not answer: 0 of ")
    assert_refuses(driver, picture)


def assert_refuses(driver: Any, picture: Path) -> None:
    states = driver.execute_script("return [...document.querySelectorAll('button, input')].map(item => item.disabled)")
    assert states == [True] * 4
    draw_line(driver, SEVEN)
    give(driver, picture, "drop")
    driver.find_element("id", "pad").send_keys("\ue00c")  # Escape
    time.sleep(0.2)
    assert text_of(driver, "words") == ""
    assert driver.execute_script("return typeof mnistEdge") == "undefined"
    assert not driver.execute_script("return document.getElementById('answers').checkVisibility()")
    assert_accessible(driver, driver.execute_script("return innerWidth"))
