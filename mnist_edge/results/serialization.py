"""Conversion of results to JSON values and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Convert a result to a JSON value: dataclasses become objects, tuples become lists, keys become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The inverse of `to_json` for a result class. Unknown keys are ignored, so that newer files can be read.

    Args:
        kind: the dataclass to build.
        value: a JSON object.

    Raises:
        KeyError: a field without a default is absent.
    """
    return typing.cast(T, _build(kind, value))


def _build(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(
            **{
                field.name: _build(hints[field.name], value[field.name])
                for field in dataclasses.fields(kind)
                if field.name in value or field.default is dataclasses.MISSING
            }
        )
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _build(next(item for item in arguments if item is not type(None)), value)
    if origin is tuple:
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(item, part) for item, part in zip(items, value, strict=True))
    return float(value) if kind is float else value
