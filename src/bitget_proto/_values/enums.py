"""Enums that can be told to people: each member is a value and a sentence about it.

Rules of this file
- The sentence stands with the member, so that docs, commands and errors say the same.
- Members are compared and looked up by identity, which costs half of what hashing their name does.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Self


class DescribedEnum(Enum):
    """An enum whose members each carry a `sentence` for people beside their value."""

    sentence: str

    # The default is for type checkers: to them a look-up by value, such as WhyClosed("lost"), is a call of this.
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
