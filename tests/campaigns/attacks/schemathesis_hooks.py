"""Hooks of Schemathesis: connect from the attacker's own loopback address, and write down every answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis
import urllib3.connection

_ANSWERS = Path(os.environ["ATTACK_ANSWERS"])
_made = urllib3.connection.HTTPConnection.__init__


def _from_source(self: Any, *words: Any, **options: Any) -> None:
    options["source_address"] = (os.environ["ATTACK_SOURCE"], 0)
    _made(self, *words, **options)


urllib3.connection.HTTPConnection.__init__ = _from_source  # type: ignore[method-assign]


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """One line of JSON an answer; bodies only of errors."""
    body = response.content[:2000].decode(errors="replace") if response.status_code >= 500 else ""
    with _ANSWERS.open("a") as file:
        file.write(json.dumps([response.status_code, body]) + "\n")
