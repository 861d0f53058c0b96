"""Checks of the places that files come from: the user's cache and MNIST's mirrors."""

from __future__ import annotations

import ssl
import tempfile
import urllib.error
import urllib.request

from mnist_edge.data import fetch
from mnist_edge.data.catalog import FILES, TEST_ROLES
from mnist_edge.results import Finding

# Time limit for an answer of a mirror.
SECONDS = 5


def cache() -> Finding:
    """Whether the cache can be written, and the files in it are undamaged."""
    folder = fetch.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x" * 4096)
            stream.flush()
    except OSError as error:
        return Finding(
            "cache", "failed", f"the user's cache folder cannot be written: {error.strerror}",
            "Give write permission or make room there, or name another folder: XDG_CACHE_HOME=FOLDER", code=5,
        )  # fmt: skip
    damaged = [name for role, name in FILES.items() if (folder / name).exists() and role not in fetch.cached((role,))]
    if damaged:
        return Finding("cache", "warning", f"damaged: {', '.join(damaged)}", "Fetch again: mnist-edge data --fetch")
    return Finding("cache", "ok", "can be written")


def mirrors() -> Finding:
    """Whether MNIST's test images are in the cache, or a mirror can be reached."""
    if len(fetch.cached(TEST_ROLES)) == len(TEST_ROLES):
        return Finding("MNIST", "ok", "the test images are in the cache")
    failures = [_reach(f"{base}{FILES['test_labels']}.gz") for base in fetch.MIRRORS]
    if None in failures:
        return Finding("MNIST", "ok", "not in the cache; a mirror answers")
    if any("certificate" in str(failure) for failure in failures):
        return Finding(
            "MNIST", "failed", f"its mirrors' certificates are not accepted: {failures[0]}",
            "Set the clock (sudo timedatectl set-ntp true), and install ca-certificates.", code=3,
        )  # fmt: skip
    return Finding(
        "MNIST", "failed", f"not in the cache, and no mirror answers: {failures[0]}",
        "Put its files in a folder and name it with --data FOLDER, or take a bundle: mnist-edge bundle", code=3,
    )  # fmt: skip


def _reach(url: str) -> str | None:
    """The reason why an address does not answer, or None."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"certificate: {reason.verify_message}"
        return str(reason)


CHECKS = (cache, mirrors)
