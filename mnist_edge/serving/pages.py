"""The HTML pages of the service, each with a content security policy that allows only its own script and style."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from html import escape
from importlib.resources import files

from starlette.responses import HTMLResponse

from mnist_edge import reports
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.openapi import document

_STYLE = (
    "body{font:1rem/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}:root{color-scheme:light dark}"
    "pre{overflow:auto;max-height:24rem}details{margin:.4rem 0}"
)


def html(page: str, policy: str) -> HTMLResponse:
    """The response with a page that no other site may show in a frame."""
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})


@lru_cache
def page_of(name: str) -> tuple[str, str]:
    """The page in a file of this package, and its content security policy."""
    page = (files(__package__) / name).read_text()
    page = page.replace("/* drawing.css */", (files(reports) / "drawing.css").read_text())
    return page, policy_of(page)


@lru_cache
def docs_page(limits: Limits) -> tuple[str, str]:
    """The OpenAPI document as a page that loads nothing else, and its content security policy."""
    value = document(limits)
    rows = []
    for path, methods in value["paths"].items():
        for method, operation in methods.items():
            details = escape(json.dumps({key: operation[key] for key in operation if key != "summary"}, indent=1))
            rows.append(
                f"<details><summary><code>{method.upper()} {escape(path)}</code> "
                f"{escape(operation['summary'])}</summary><pre>{details}</pre></details>"
            )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>mnist-edge: the service</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"<main><h1>mnist-edge: the service</h1>"
        f"<p>{escape(value['info']['description'])} The same as a document: "
        f'<a href="/openapi.json">openapi.json</a>.</p>{"".join(rows)}</main></html>'
    )
    return page, policy_of(page)


def policy_of(page: str) -> str:
    """A content security policy that allows a page's script and style, by their hashes, and requests to its origin."""

    def allowed(element: str) -> str:
        contents = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        hashes = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents)
        return " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"

    return (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
