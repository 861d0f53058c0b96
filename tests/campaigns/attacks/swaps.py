"""Changes of a workspace as during deployments: new files, broken files, a folder that is missing for a while."""

from __future__ import annotations

import os
import random
import shutil
import time

from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.campaigns.attacks.wire import Ledger, Target

NAME = "cnn-int8.tflite"


def swap(target: Target, ledger: Ledger) -> None:
    """Make one random change of the model `cnn`; the service must give the same answers after it."""
    change = random.choice([new_file, broken_file, cut_manifest, folder_away, shipped_folder])
    change(target)
    ledger.count(change.__name__.replace("_", " "))
    time.sleep(3)
    if change is not new_file:
        shipped_folder(target)


def shipped_folder(target: Target) -> None:
    """Replace the model's folder by the shipped one."""
    folder, fresh = target.workspace / "cnn", target.workspace / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(SHIPPED / "cnn", fresh)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def new_file(target: Target) -> None:
    """Write another valid file with the same weights: trailing zeros change only its hash."""
    folder = target.workspace / "cnn"
    if not (folder / NAME).is_file():
        shipped_folder(target)
    manifest = Manifest.load(folder)
    content = (SHIPPED / "cnn" / NAME).read_bytes() + bytes(random.randint(1, 1000))
    facts = {key: value for key, value in manifest.files[NAME].items() if key not in ("sha256", "size_bytes")}
    manifest.commit({NAME: (content, facts)})


def broken_file(target: Target) -> None:
    """Replace the file by a damaged one, whose hash differs from the manifest's."""
    content = (SHIPPED / "cnn" / NAME).read_bytes()
    broken = target.workspace / ".broken"
    broken.write_bytes(content[: random.randint(0, len(content))] + os.urandom(1000))
    broken.rename(target.workspace / "cnn" / NAME)


def cut_manifest(target: Target) -> None:
    """Truncate the manifest."""
    path = target.workspace / "cnn" / "manifest.json"
    text = path.read_bytes()
    path.write_bytes(text[: random.randint(0, len(text))])


def folder_away(target: Target) -> None:
    """Remove the folder, as between two steps of a careless deployment."""
    shutil.rmtree(target.workspace / "cnn", ignore_errors=True)
