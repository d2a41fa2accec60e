"""Creates request ids and refuses ids that would make answers ambiguous.

Answers are matched by id alone. Two requests that can still be answered must not share an id. These
are the open or remembered cancels, and the caller's own frames on the same socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from .._values.errors import ValidationError
from .._values.orders import check_request_id

_COUNTED = 15
"""The maximum number of digits of the counter in generated ids."""

_OWN_IDS = 1024
"""The number of ids of the caller's own frames that are remembered."""


IN_FLIGHT = "is in flight"
MAY_BE_ANSWERED = "was used for a cancel whose answer may still come"

Taken: TypeAlias = Callable[[str], str | None]
"""Returns why a cancel has this id, or None if no cancel has it."""


class RequestIds:
    """The ids of one connection, or of all connections of a session.

    `prefix` is the prefix of generated ids. The function `taken` of the state machine says which
    ids its cancels have.
    """

    __slots__ = ("_counter", "_own", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._counter = 0
        self._own: dict[str, None] = {}
        """The ids of the caller's own frames, the oldest first."""

    def make(self) -> str:
        """Return a new id that was never used."""
        self._counter = counter = self._counter + 1
        return f"{self._prefix}{counter}"

    def check(self, value: object, taken: Taken) -> str:
        """Return the caller's id for a cancel, if it may be used.

        Raises: ValidationError if it may not be used.
        """
        id = check_request_id(value)
        why = "was used for a frame of your own" if id in self._own else taken(id)
        if why is not None:
            raise ValidationError(
                f"the id {id!r} {why}: pass another id, or leave id out to have one generated"
            )
        self._reserve(id)
        return id

    def remember(self, ids: Iterable[str], taken: Taken) -> None:
        """Remember the ids under which a frame of the caller's own will be answered.

        Raises: ValidationError if a cancel has one of them.
        """
        for id in ids:
            why = taken(id)
            if why is not None:
                raise ValidationError(
                    f"the id {id!r} in this frame {why}, so that its answer could be taken for the "
                    "cancel's: use another id"
                )
        for id in ids:
            self._reserve(id)
            self._own.pop(id, None)
            self._own[id] = None
            if len(self._own) > _OWN_IDS:
                del self._own[next(iter(self._own))]

    def _reserve(self, id: str) -> None:
        """Never generate this id: the caller has used it."""
        digits = id[len(self._prefix) :]
        if (
            id.startswith(self._prefix)
            and digits.isascii()
            and digits.isdigit()
            and len(digits) <= _COUNTED
        ):
            self._counter = max(self._counter, int(digits))
