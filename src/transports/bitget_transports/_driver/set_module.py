"""Sets `__module__` of a public class to the module that users import it from.

Pickles and messages contain that name, and files may move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def set_module(name: str) -> Callable[[_Class], _Class]:
    """Mark a class as public in the module `name`.

    String annotations of the class are then resolved in that module.
    """

    def mark(cls: _Class) -> _Class:
        cls.__module__ = name
        return cls

    return mark
