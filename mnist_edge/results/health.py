"""Results of ``doctor``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked.
        status: ``ok``, ``absent`` (not installed and not needed), ``warning`` or ``failed``.
        found: what the check found, in words.
        remedy: what the user can do; None if there is nothing to do.
        code: the exit code for a check that failed; else 0.
    """

    check: str
    status: str
    found: str
    remedy: str | None = None
    code: int = 0
