"""Whose files these are: a signature over a folder's manifest, which names the hash of every file there.

Integrity is the manifest's matter; this is authenticity. The signature is one of the model-signing library (OpenSSF)
with an elliptic-curve key, made and checked without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, UsageError, missing_extra
from mnist_edge.store.files import writing
from mnist_edge.store.manifest import MANIFEST_NAME, Manifest, read_vouched

SIGNATURE_NAME = "manifest.json.sig"


def sign(folder: Path, private_key: Path) -> Path:
    """Sign a folder's manifest, and with it every file that it names.

    Args:
        folder: of one model. private_key: a PEM file with an elliptic-curve key (P-256, P-384 or P-521), no password.

    Raises:
        UsageError: no such key, or none of that kind.
        MissingError: the extra ``sign`` is not installed.
    """
    signing = _library().signing
    _require(private_key)
    for name in (manifest := Manifest.load(folder)).files:
        manifest.check(name)
    target = folder / SIGNATURE_NAME
    with writing(target) as path:
        try:
            signer = signing.Config().use_elliptic_key_signer(private_key=private_key)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{private_key} is no private key that can sign.", _HOW) from error
        signer.sign(folder / MANIFEST_NAME, path)
    return target


def check(folder: Path, public_key: Path) -> None:
    """Make sure that a folder's manifest is the one that the holder of a key has signed.

    What the manifest does not name is not signed: whoever calls this opens no file that nothing vouches for.

    Raises:
        ContentError: no signature, or it is not that key's, or the manifest is another.
        UsageError: no such key, or none of that kind.
        MissingError: the extra ``sign`` is not installed.
    """
    verifying = _library().verifying
    _require(public_key)
    if not (folder / SIGNATURE_NAME).is_file():
        raise ContentError(
            f"{folder} is not signed.", "Have it signed where it was made: mnist-edge export --sign KEY.pem"
        )
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{public_key} is no public key that can verify.", _HOW) from error
    try:
        verifier.verify(folder / MANIFEST_NAME, folder / SIGNATURE_NAME)
    except Exception as error:  # a signature from anywhere: the library's parsers raise what they like
        raise ContentError(
            f"{folder / MANIFEST_NAME} is not what the holder of {public_key} signed.",
            "Have it from its maker again; after a new export it must be signed anew.",
        ) from error


def check_files(files: Sequence[Path], public_key: Path, trust: bool = False) -> None:
    """`check` the folders of files, and that their manifests vouch for each of these.

    Raises:
        UsageError: together with ``trust``, which would take files that nobody signed.
        MnistEdgeError: what `check` raises.
    """
    if trust:
        raise UsageError("--public-key and --trust contradict each other.", "Leave one of them out.")
    for folder in dict.fromkeys(path.parent for path in files):
        check(folder, public_key)
    for path in files:
        if not read_vouched(path)[1]:
            raise ContentError(f"{path} is in no signed manifest.", "Have it exported and signed where it was made.")


_HOW = "Make a pair: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem; openssl ec -in KEY.pem -pubout"


def _require(key: Path) -> None:
    if not key.is_file():
        raise UsageError(f"There is no key {key}.", _HOW)


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise missing_extra("The model-signing library", "sign") from error
    return model_signing
