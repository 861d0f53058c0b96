"""Hooks for Schemathesis: connect from the attacker's own loopback address, and record every response."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis
import urllib3.connection

_ANSWERS = Path(os.environ["ATTACK_ANSWERS"])
_original_init = urllib3.connection.HTTPConnection.__init__


def _init_with_source(self: Any, *words: Any, **options: Any) -> None:
    options["source_address"] = (os.environ["ATTACK_SOURCE"], 0)
    _original_init(self, *words, **options)


urllib3.connection.HTTPConnection.__init__ = _init_with_source  # type: ignore[method-assign]


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Write a line of JSON for each response, with the body only if it is a server error."""
    body = response.content[:2000].decode(errors="replace") if response.status_code >= 500 else ""
    with _ANSWERS.open("a") as file:
        file.write(json.dumps([response.status_code, body]) + "\n")
