"""Signatures of model folders: one signature covers the manifest, which has the hash of every file of the folder.

The manifest alone shows integrity; its signature shows authenticity. Signatures are made and checked without a network,
by the model-signing library (OpenSSF), with an elliptic-curve key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.errors import ContentError, UsageError, missing_extra
from mnist_edge.store.files import writing
from mnist_edge.store.manifest import MANIFEST_NAME, Manifest, read_verified

SIGNATURE_NAME = "manifest.json.sig"


def sign(folder: Path, private_key: Path) -> Path:
    """Sign the manifest of a model's folder, and thereby every file that the manifest names.

    Args:
        folder: the folder of one model.
        private_key: a PEM file with an elliptic-curve key (P-256, P-384 or P-521), without a password.

    Returns:
        The path of the signature file.

    Raises:
        ContentError: a file is not the one that the manifest names.
        UsageError: there is no such key, or it is not of that kind.
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
            raise UsageError(f"{private_key} is not a private key that can sign.", _HOW) from error
        signer.sign(folder / MANIFEST_NAME, path)
    return target


def check(folder: Path, public_key: Path) -> None:
    """Check that the manifest of a folder was signed by the holder of a key.

    The signature says nothing about files that the manifest does not name: the caller must not open them.

    Args:
        folder: the folder of one model.
        public_key: a PEM file with the public key.

    Raises:
        ContentError: the folder is not signed, or the signature does not match the key and the manifest.
        UsageError: there is no such key, or it is not an elliptic-curve key.
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
    except Exception as error:  # for a malformed signature, the library's parsers raise errors of any class
        raise ContentError(
            f"{folder / MANIFEST_NAME} is not what the holder of {public_key} signed.",
            "Get the folder from its author again. After a new export its manifest must be signed again.",
        ) from error


def check_files(files: Sequence[Path], public_key: Path, trust: bool = False) -> None:
    """Check the signatures of the files' folders, and that each file is the one that the signed manifest names.

    Args:
        files: the model files.
        public_key: a PEM file with the public key.
        trust: whether files that no manifest names were to be accepted, which contradicts a signature.

    Raises:
        UsageError: ``trust`` is set.
        ContentError: a file is not in the signed manifest of its folder.
        MnistEdgeError: `check` fails for a folder.
    """
    if trust:
        raise UsageError("--public-key and --trust contradict each other.", "Leave one of them out.")
    for folder in dict.fromkeys(path.parent for path in files):
        check(folder, public_key)
    for path in files:
        if not read_verified(path)[1]:
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
