"""Rules of MISRA C:2012 from which generated plain C deviates, with reasons. The generated file lists them."""

from __future__ import annotations

DEVIATIONS = {
    "2.5": "the header defines macros that only the caller's code uses",
    "8.4": "a function that several nets of a program share is declared in the file that defines it",
    "8.7": "the header declares functions that only the caller's code calls",
    "8.9": "weights are defined at file scope, which keeps the function readable",
    "10.1": "negative numbers are shifted right, which compilers do arithmetically",
    "11.5": "the scratch buffer is void *, so that any memory will do",
}


def lines() -> list[str]:
    """Lines of a C comment that name the deviations."""
    listed = [f" *   {rule}: {reason}" for rule, reason in DEVIATIONS.items()]
    return [" * Deviations from MISRA C:2012, as the addon of cppcheck finds them:", *listed]
