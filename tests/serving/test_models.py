"""The models of the service: which version is served while files change."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from starlette.requests import Request

from mnist_edge.serving import models as module
from mnist_edge.serving import triton
from mnist_edge.serving.access import Access
from mnist_edge.serving.limits import Limits, RequestRefusedError
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Models, Source
from mnist_edge.serving.routes import Routes
from mnist_edge.store.manifest import Manifest, sha256_of_file
from mnist_edge.store.workspace import SHIPPED

NAME = "dense-int8.tflite"


def export(folder: Path, end: bytes) -> None:
    """Write another valid file and its manifest; the bytes ``end`` after the model change only its hash."""
    facts = {
        key: value for key, value in Manifest.load(folder).files[NAME].items() if key not in ("sha256", "size_bytes")
    }
    Manifest.load(folder).commit({NAME: ((SHIPPED / "dense" / NAME).read_bytes() + end, facts)})


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dense"
    shutil.copytree(SHIPPED / "dense", folder)
    source, notes = Source.of(tmp_path, "auto", ("dense",)), list[str]()
    models = Models(source, 1, Limits(), Metrics(), notes.append)
    open_session = module.open_session

    def replaced_meanwhile(*arguments: Any) -> Any:
        session = open_session(*arguments)
        export(folder, b"\0\0")
        return session

    export(folder, b"\0")
    monkeypatch.setattr(module, "open_session", replaced_meanwhile)
    models.refresh()
    assert models.all()[0].version == 1
    assert "replaced while it was opened" in models.problems["dense"]
    monkeypatch.undo()
    models.refresh()
    assert models.all()[0].version == 2
    assert models.all()[0].sha256 == sha256_of_file(folder / NAME)
    assert models.problems == {}


def test_a_model_whose_files_have_not_changed_is_not_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    models = Models(Source.of(tmp_path, "auto", ("dense",)), 1, Limits(), Metrics(), lambda _: None)
    models.refresh()
    picked: list[str] = []
    monkeypatch.setattr(Source, "pick", lambda *arguments: picked.append(arguments[1]))
    models.refresh()
    assert picked == []


def test_a_model_of_colour_pictures_has_three_channels_and_no_page_to_draw_on(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    digits = Models(Source.of(tmp_path, "auto", ("dense",)), 1, Limits(), Metrics(), lambda _: None).all()[0]
    colour = dataclasses.replace(
        digits, grid=msgspec.structs.replace(digits.grid, height=12, width=10, channels=3, preprocessor="resize")
    )
    assert triton.config(colour)["input"][0]["dims"] == [12, 10, 3]
    assert triton.config(digits)["input"][0]["dims"] == [28, 28, 1]

    def page(*served: Any) -> Any:
        access = Access(None, frozenset(), frozenset())
        service = SimpleNamespace(models=SimpleNamespace(all=lambda: list(served)), access=access, secure=False)
        request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
        return asyncio.run(Routes(cast(Any, service)).page(request))

    assert page(colour, digits).status_code == 200
    with pytest.raises(RequestRefusedError, match="/docs describes the service") as caught:
        page(colour)
    assert caught.value.status == 404
