"""Sets `__module__` of a public class to the package that exports it.

Pickles and error messages then name the package and not the file, so files can be moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def set_module(name: str) -> Callable[[_Class], _Class]:
    """Return a decorator that sets the `__module__` of a class to `name`.

    `typing.get_type_hints` then looks string annotations of the class up in that module.
    """

    def mark(cls: _Class) -> _Class:
        cls.__module__ = name
        return cls

    return mark
