"""The service described as an OpenAPI document, and that document as a page."""

from __future__ import annotations

import html
import json
from typing import Any

from mnist_edge import __version__
from mnist_edge.serving.http import Limits

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_COMMON = {
    400: "What was sent does not fit.", 401: "A token is wanted.", 404: "There is no such model.",
    408: "The body was too slow.", 413: "Too large.", 415: "An unknown encoding.", 503: "The queue is full.",
    504: "It took too long.",
}  # fmt: skip


def document(limits: Limits) -> dict[str, Any]:
    """OpenAPI 3.1."""
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "examples": ["cnn"]}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "examples": ["1"]}}
    flags = [
        {"name": name, "in": "query", "schema": {"type": "boolean"}, "description": text}
        for name, text in (("multi", "Read every digit."), ("raw", "Look for no digit: take the picture as it is."))
    ]
    chosen = {"name": "model", "in": "query", "schema": {"type": "string"}, "description": "Else the first."}
    picture = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["file"], "properties": {"file": picture}}
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"enum": ["image", "picture"]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    infer = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    rows = {
        "type": "object",
        "properties": {"instances": {"type": "array", "minItems": 1}, "signature_name": {"const": "serving_default"}},
    }
    paths: dict[str, Any] = {
        "/v1/digits": {
            "post": _operation(
                "What digit is in this picture?",
                [chosen, *flags],
                "The answer, as `mnist-edge predict --json` has it.",
                {
                    "image/png": {"schema": picture},
                    "image/jpeg": {"schema": picture},
                    "multipart/form-data": {"schema": form},
                },
            )
        },
        "/v1/models": {"get": _operation("The models served.", [], "Names, versions, engines.")},
        "/v2": {"get": _operation("Server metadata (Open Inference Protocol V2).", [], "Name and version.")},
        "/v2/health/live": {"get": _operation("Is the process there?", [], "Yes.")},
        "/v2/health/ready": {"get": _operation("Does it take requests?", [], "Yes.")},
        "/metrics": {"get": _operation("For Prometheus.", [], "Its text format.", answer="text/plain")},
        "/docs": {"get": _operation("This page.", [], "HTML.", answer="text/html")},
        "/": {"get": _operation("The page to draw on.", [], "HTML.", answer="text/html")},
    }
    for base, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        body = {"application/json": {"schema": infer}}
        paths[base] = {"get": _operation("Model metadata (V2).", parameters, "Inputs and outputs.")}
        paths[f"{base}/ready"] = {"get": _operation("Is the model ready (V2)?", parameters, "Yes.")}
        paths[f"{base}/infer"] = {"post": _operation("Classify (V2).", parameters, "Outputs.", body)}
    for base, parameters in (
        ("/v1/models/{model}", [model]),
        ("/v1/models/{model}/versions/{version}", [model, version]),
    ):
        body = {"application/json": {"schema": rows}}
        paths[base] = {"get": _operation("Model status (TensorFlow Serving).", parameters, "Its state.")}
        paths[f"{base}/metadata"] = {"get": _operation("Signature (TensorFlow Serving).", parameters, "Tensors.")}
        paths[f"{base}:predict"] = {"post": _operation("Classify (TensorFlow Serving).", parameters, "Rows.", body)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnist-edge",
            "version": __version__,
            "description": f"A body has {limits.body_bytes:,} bytes at most, a picture {limits.pixels:,} pixels, a "
            f'request {limits.images:,} images. Errors are `{{"error": …}}`.',
        },
        "paths": paths,
    }


def _operation(
    summary: str,
    parameters: list[dict[str, Any]],
    said: str,
    body: dict[str, Any] | None = None,
    answer: str = "application/json",
) -> dict[str, Any]:
    schema = {"type": "object"} if answer == "application/json" else {"type": "string"}
    good: dict[str, Any] = {"description": said, "content": {answer: {"schema": schema}}}
    failed = {"application/json": {"schema": _ERROR}}
    described = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": good,
            **{str(code): {"description": text, "content": failed} for code, text in _COMMON.items()},
        },
    }
    if body:
        described["requestBody"] = {"required": True, "content": body}
    return described


def as_page(value: dict[str, Any]) -> str:
    """The document for a person: one page, nothing fetched."""
    rows = []
    for path, methods in value["paths"].items():
        for method, operation in methods.items():
            details = html.escape(json.dumps({key: operation[key] for key in operation if key != "summary"}, indent=1))
            rows.append(
                f"<details><summary><code>{method.upper()} {html.escape(path)}</code> "
                f"{html.escape(operation['summary'])}</summary><pre>{details}</pre></details>"
            )
    style = (
        "body{font:1rem/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}:root{color-scheme:light dark}"
    )
    style += "pre{overflow:auto;max-height:24rem}details{margin:.4rem 0}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>mnist-edge: the service</title><style>{style}</style><main><h1>mnist-edge: the service</h1>"
        f"<p>{html.escape(value['info']['description'])} The same as a document: "
        f'<a href="/openapi.json">openapi.json</a>.</p>{"".join(rows)}</main></html>'
    )
