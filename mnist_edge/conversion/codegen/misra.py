"""Rules of MISRA C:2012 from which generated plain C deviates, with reasons. The generated file lists them."""

from __future__ import annotations

DEVIATIONS = {
    "2.5": "macros of the header are for its users",
    "8.7": "the functions of the header are for its users",
    "8.9": "constants lie at file scope, so that the function shows the net",
    "10.1": "negative numbers are shifted right, which compilers do arithmetically",
    "11.5": "the scratch buffer is void *, so that any memory will do",
}


def lines() -> list[str]:
    """Lines of a C comment that name the deviations."""
    listed = [f" *   {rule}: {reason}" for rule, reason in DEVIATIONS.items()]
    return [" * Deviations from MISRA C:2012, as the addon of cppcheck finds them:", *listed]
