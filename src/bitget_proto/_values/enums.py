"""Enums whose members carry a sentence for documentation, commands and error messages.

Members hash by identity, which takes half the time of hashing their names.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Self


class DescribedEnum(Enum):
    """An enum whose members have a `sentence` for people in addition to their value."""

    sentence: str

    # The default is for type checkers: they treat a look-up such as WhyClosed("lost") as this call.
    def __new__(cls, value: str, sentence: str = "") -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.sentence = sentence
        return member

    if TYPE_CHECKING:

        @property
        def value(self) -> str: ...

    else:
        __hash__ = object.__hash__
