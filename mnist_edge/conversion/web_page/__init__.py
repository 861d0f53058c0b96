"""The page of a model: one HTML file with the WebAssembly module inside, which works offline and from ``file://``."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from mnist_edge import reports

_FOLDER = Path(__file__).parent
# Words of a page that can be drawn on, and of one that only takes pictures.
_DRAWING = {
    "title": "Draw a digit",
    "pad": "Drawing area. Draw with mouse, finger or pen; or choose or paste a picture.",
    "hint": "Draw with mouse, finger or pen; or choose, drop or paste a picture.",
}
_PICTURES = {"title": "Classify a picture", "pad": "The picture", "hint": "Choose, drop or paste a picture."}


def page(name: str, module: str, preprocessor: str) -> bytes:
    """The page of a model.

    Its content security policy forbids every request, and allows only its own script and style: a page whose module
    was damaged does not answer.

    Args:
        name: of the model.
        module: an ES module without imports that exports ``load``, see ``docs/browser.md``.
        preprocessor: of the model; with ``digit`` the page can be drawn on.
    """
    draws = preprocessor == "digit"
    style = (files(reports) / "drawing.css").read_text() + _own("page.css")
    own = _own("pad.js") + _own("page.js") + _own("camera.js")
    # The braces separate the page's names from the module's. "</" would end the script element.
    script = f"{module}\n{{\n{own}}}\n"
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the module has text that ends a script element")
    values = {
        "name": escape(name), "policy": _policy(script, style), "style": style, "script": script,
        "draws": str(draws).lower(), "hidden": "" if draws else "hidden", **(_DRAWING if draws else _PICTURES),
    }  # fmt: skip
    return Template(_own("page.html.in")).substitute(values).encode()


def _policy(script: str, style: str) -> str:
    """Content security policy of a page that loads nothing."""
    allowed = (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (script, style)
    )
    return (
        "default-src 'none'; script-src {} 'wasm-unsafe-eval'; style-src {}; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    ).format(*allowed)


def _own(name: str) -> str:
    return (_FOLDER / name).read_text()
