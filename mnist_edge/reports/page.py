"""Building blocks of the HTML pages: one file that loads nothing, light and dark colours, usable by keyboard."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --page: #fff; --line: #d0d7de; --good: #116329;
  --bad: #a40e26; --mark: 9, 105, 218; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9ea7b3; --page: #0d1117; --line: #3d444d;
  --good: #4ac26b; --bad: #ff8182; --mark: 88, 166, 255; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 62rem;
  margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .left { text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .75rem; padding: 0; }
.gallery li { list-style: none; font-size: .8rem; border: 1px solid var(--line); border-radius: .4rem; padding: .5rem; }
.gallery img { width: 100%; image-rendering: pixelated; border-radius: .2rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.confusion td, .confusion th { text-align: right; padding: .15rem .4rem; border: 0; }
code { font-size: .85em; overflow-wrap: anywhere; }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """HTML page from its parts, which are HTML too; empty parts are left out."""
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def coloured(good: bool, word: str) -> str:
    """HTML of a word in green if ``good``, else in red."""
    return f'<span class="{"good" if good else "bad"}">{escape(word)}</span>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """HTML table in a scrollable region.

    Args:
        caption: plain text.
        header: HTML of the column headings.
        rows: HTML of the cells, the first of which is the row's heading. A cell may include its own ``<td>`` tag.
        kind: CSS class.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(_cell(cell) for cell in row[1:]) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return cell if cell.startswith("<td") else f"<td>{cell}</td>"


def confusion(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """HTML of a confusion matrix: a row for each label, a column for each answer, mistakes shaded by their number."""
    most = max((n for r, row in enumerate(counts) for c, n in enumerate(row) if r != c), default=0) or 1
    rows = [
        (escape(names[r]), *(
            f'<td style="background: rgba(var(--mark), {0 if r == c else 0.35 * n / most:.2f})">{n or ""}</td>'
            for c, n in enumerate(row)
        ))
        for r, row in enumerate(counts)
    ]  # fmt: skip
    return table(title, ("true", *map(escape, names)), rows, "confusion")


def gallery(tiles: Iterable[tuple[NDArray[Any], str, str]]) -> str:
    """HTML list of inputs: each tile is an array, an alternative text, and a caption in HTML.

    Pixels, uint8 (h, w, c), are shown as an image; of features only the caption is shown.
    """
    made = "".join(f"<li>{_image(values, alt)}{text}</li>" for values, alt, text in tiles)
    return f'<ul class="gallery">{made}</ul>'


def _image(values: NDArray[Any], alt: str) -> str:
    return f'<img src="{png(values)}" alt="{escape(alt)}">' if values.dtype == np.uint8 else ""


def png(image: NDArray[np.uint8]) -> str:
    """Data URI of a PNG of an image, see `png_bytes`."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """A PNG of an image, uint8 (h, w), (h, w, 1) or (h, w, 3)."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, "PNG")
    return stream.getvalue()
