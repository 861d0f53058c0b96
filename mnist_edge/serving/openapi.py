"""The OpenAPI document of the service."""

from __future__ import annotations

from typing import Any

from mnist_edge import __version__
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.requests import MAX_RANK

Schema = dict[str, Any]
JSON = "application/json"
_ERRORS = {
    400: "The request is not valid.", 401: "A token is required.", 403: "Pages of other origins may not send requests.",
    404: "There is no such model.", 408: "The body did not arrive in time.", 413: "The request is too large.",
    415: "The encoding is not known.", 431: "The header is too large.", 500: "The model answers with NaN.",
    503: "The service is busy or stopping.", 504: "The work took too long.",
}  # fmt: skip


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


TEXT: Schema = {"type": "string", "maxLength": 1024}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31}
FLAG: Schema = {"type": "boolean"}
# Values of a tensor: numbers in a flat or nested list, or strings.
VALUES: Schema = _list({})
OPEN: Schema = {"type": "object", "additionalProperties": True}


def _schemas() -> dict[str, Schema]:
    parameters = _object(binary_data_size=WHOLE)
    wanted = _object(binary_data=FLAG, classification={"type": "integer", "minimum": 1, "maximum": 2**31})
    tensor = _object(
        ("name", "shape", "datatype"), name=TEXT, shape=_list({"type": "integer"}), datatype=TEXT, data=VALUES,
        parameters=OPEN,
    )  # fmt: skip
    signature = _object(("name", "datatype", "shape"), name=TEXT, datatype=TEXT, shape=_list({"type": "integer"}))
    prediction = _object(
        ("path",), path=TEXT, label={"type": ["integer", "null"]}, name={"type": ["string", "null"]},
        confidence={"type": ["number", "null"]}, reason={"type": ["string", "null"]},
    )  # fmt: skip
    return {
        "Error": _object(("error",), error={"type": "string"}),
        "Live": _object(("live",), live=FLAG),
        "Ready": _object(("ready",), ready=FLAG, reason=TEXT, problems=OPEN, name=TEXT),
        "ServerMetadata": _object(
            ("name", "version", "extensions"), name=TEXT, version=TEXT, extensions=_list({"type": "string"})
        ),
        "ModelMetadata": _object(
            ("name", "versions", "platform", "inputs", "outputs"), name=TEXT, versions=_list({"type": "string"}),
            platform=TEXT, inputs=_list(signature), outputs=_list(signature),
        ),
        "InferenceRequest": _object(
            ("inputs",),
            id=TEXT,
            inputs=_list(
                _object(
                    ("name", "shape", "datatype"),
                    name={"type": "string", "enum": ["image", "picture"]},
                    shape=_list(WHOLE, minItems=1, maxItems=MAX_RANK),
                    datatype=TEXT,
                    data=VALUES,
                    parameters=parameters,
                ),
                minItems=1,
                maxItems=1,
            ),
            outputs=_list(_object(("name",), name=TEXT, parameters=wanted), maxItems=1),
            parameters=_object(binary_data_output=FLAG, classification=wanted["properties"]["classification"]),
        ),
        "InferenceResponse": _object(
            ("model_name", "model_version", "outputs"), model_name=TEXT, model_version=TEXT, id=TEXT,
            outputs=_list(tensor),
        ),
        "PredictRequest": _object(instances=_list({}, minItems=1), inputs={}, signature_name=TEXT),
        "PredictResponse": _object(predictions=_list(_list(NUMBER)), outputs=_list(_list(NUMBER))),
        "Digits": _object(
            ("predictions", "model", "engine"), predictions=_list(prediction), model=TEXT, engine=TEXT,
            seen=_list({"type": "string"}),
        ),
        "Models": _object(
            ("models",),
            models=_list(_object(("name", "version"), name=TEXT, version=WHOLE, engine=TEXT, sha256=TEXT)),
        ),
        "Statistics": _object(("model_stats",), model_stats=_list(OPEN)),
        "Index": _list(_object(("name", "version", "state"), name=TEXT, version=TEXT, state=TEXT, reason=TEXT)),
        "Any": OPEN,
    }  # fmt: skip


def document(limits: Limits) -> Schema:
    """The OpenAPI 3.1 document of a service with these limits."""
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "examples": ["cnn"]}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "examples": ["1"]}}
    picture: Schema = {"type": "string", "format": "binary"}
    pictures = {
        "application/octet-stream": {"schema": picture},
        "image/png": {"schema": picture},
        "image/jpeg": {"schema": picture},
        "multipart/form-data": {"schema": _object(("file",), file=picture)},
    }
    options = [
        {
            "name": "model",
            "in": "query",
            "schema": {"type": "string"},
            "description": "Name of the model; the first one by default.",
        },
        {"name": "multi", "in": "query", "schema": FLAG, "description": "Read every digit in the picture."},
        {"name": "raw", "in": "query", "schema": FLAG, "description": "Take the whole picture as the digit."},
    ]
    infer, predict = (_body({JSON: {"schema": _ref(name)}}) for name in ("InferenceRequest", "PredictRequest"))
    index = _body({JSON: {"schema": OPEN}}, required=False)
    paths: Schema = {
        "/v1/digits": _post("read_digits", "Read the digit in a picture.", "Digits", options, _body(pictures)),
        "/v1/models": _get("list_models", "The models served.", "Models"),
        "/v2": _get("server_metadata", "Server metadata (Open Inference Protocol V2).", "ServerMetadata"),
        "/v2/health/live": _get("server_live", "Whether the process answers.", "Live"),
        "/v2/health/ready": _get("server_ready", "Whether the service accepts requests.", "Ready"),
        "/v2/repository/index": _post("repository_index", "Models and their states.", "Index", [], index),
        "/v2/models/stats": _get("all_statistics", "Statistics of all models.", "Statistics"),
        "/metrics": _get("metrics", "Metrics for Prometheus.", None, kind="text/plain"),
        "/docs": _get("docs", "This document as a page.", None, kind="text/html"),
        "/": _get("page", "The page to draw on.", None, kind="text/html"),
    }
    for suffix, more, where in (("", "", [model]), ("/versions/{version}", "_version", [model, version])):
        base, tf = f"/v2/models/{{model}}{suffix}", f"/v1/models/{{model}}{suffix}"
        paths |= {
            base: _get(f"model_metadata{more}", "Model metadata (V2).", "ModelMetadata", where),
            f"{base}/ready": _get(f"model_ready{more}", "Whether the model is ready (V2).", "Ready", where),
            f"{base}/config": _get(f"model_config{more}", "Model configuration (Triton).", "Any", where),
            f"{base}/stats": _get(f"model_statistics{more}", "Statistics (Triton).", "Statistics", where),
            f"{base}/infer": _post(f"infer{more}", "Classify (V2).", "InferenceResponse", where, infer),
            tf: _get(f"model_status{more}", "Model status (TensorFlow Serving).", "Any", where),
            f"{tf}/metadata": _get(f"model_signature{more}", "Signature (TensorFlow Serving).", "Any", where),
            f"{tf}:predict": _post(
                f"predict{more}", "Classify (TensorFlow Serving).", "PredictResponse", where, predict
            ),
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnist-edge",
            "version": __version__,
            "description": f"A body has {limits.body_bytes:,} bytes at most, a picture {limits.pixels:,} pixels, a "
            f'request {limits.images:,} images. Errors are `{{"error": …}}`.',
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _get(
    name: str, summary: str, answer: str | None, parameters: list[Schema] | None = None, kind: str = JSON
) -> Schema:
    return {"get": _operation(name, summary, answer, parameters or [], kind)}


def _post(name: str, summary: str, answer: str, parameters: list[Schema], body: Schema) -> Schema:
    return {"post": {**_operation(name, summary, answer, parameters, JSON), "requestBody": body}}


def _body(content: Schema, required: bool = True) -> Schema:
    """A request body; ``content`` holds a schema for each media type."""
    return {"required": required, "content": content}


def _operation(name: str, summary: str, answer: str | None, parameters: list[Schema], kind: str) -> Schema:
    schema = _ref(answer) if answer is not None else {"type": "string"}
    failed = {JSON: {"schema": _ref("Error")}}
    errors = {str(code): {"description": text, "content": failed} for code, text in _ERRORS.items()}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": {"description": summary, "content": {kind: {"schema": schema}}}, **errors},
    }
