"""Finding plug-ins: a module in a package's folder is one, and nothing else has to be edited."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType


def modules(package: ModuleType, marker: str, required: Iterable[str]) -> dict[str, ModuleType]:
    """Plug-in modules of a package by their ``NAME``, sorted by name.

    Args:
        package: the package whose folder (its ``__path__``) is searched.
        marker: a module that defines this attribute is a plug-in; others in the folder are helpers.
        required: attributes that every plug-in must define besides.

    Raises:
        TypeError: a plug-in lacks an attribute, or two have one name.
    """
    found: dict[str, ModuleType] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if not hasattr(module, marker):
            continue
        absent = [name for name in ("NAME", *required) if not hasattr(module, name)]
        if absent:
            raise TypeError(f"{module.__name__} does not define {', '.join(absent)}")
        if module.NAME in found:
            raise TypeError(f"{module.__name__} and {found[module.NAME].__name__} are both named {module.NAME!r}")
        found[module.NAME] = module
    return dict(sorted(found.items()))
