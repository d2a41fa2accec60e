"""Where a public class is imported from, as `__module__`: pickles and messages name that place, and files may move."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def set_module(name: str) -> Callable[[_Class], _Class]:
    """Mark a class as public in the module `name`.

    Annotations that are strings would be looked up there: the file of an attrs class evaluates its annotations.
    """

    def mark(cls: _Class) -> _Class:
        cls.__module__ = name
        return cls

    return mark
