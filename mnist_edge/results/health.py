"""What ``doctor`` returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``status`` is ``ok``, ``absent`` (and not needed), ``warning`` or ``failed``.

    ``remedy`` is None where nothing is to be done. ``code`` is the exit code that a failure stands for.
    """

    check: str
    status: str
    found: str
    remedy: str | None = None
    code: int = 0
