"""The ids of requests: makes them, and refuses those under which two answers could be confused.

An answer is matched by its id alone. So no two requests that can still be answered may share one: cancels that are open or
remembered, and frames of the caller's own on the same socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from .._values.errors import ValidationError
from .._values.orders import check_request_id

_COUNTED = 15
"""The most digits that the counter of generated ids can have."""

_OWN_IDS = 1024
"""How many ids of the caller's own frames are remembered."""


IN_FLIGHT = "is in flight"
MAY_BE_ANSWERED = "was used for a cancel whose answer may still come"

Taken: TypeAlias = Callable[[str], str | None]
"""Says why a request must not have this id, since a cancel has it, or gives None."""


class RequestIds:
    """The ids of one connection, or of all connections of a session. `prefix` is what generated ids begin with.

    Which ids cancels have is their core's to say, by the function `taken`.
    """

    __slots__ = ("_counter", "_own", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._counter = 0
        self._own: dict[str, None] = {}
        """The ids of the caller's own frames, the oldest first."""

    def make(self) -> str:
        """An id that no request has, nor ever had."""
        self._counter = counter = self._counter + 1
        return f"{self._prefix}{counter}"

    def check(self, value: object, taken: Taken) -> str:
        """An id of the caller's for a cancel, checked.

        Raises: ValidationError, and nothing has changed.
        """
        id = check_request_id(value)
        why = "was used for a frame of your own" if id in self._own else taken(id)
        if why is not None:
            raise ValidationError(
                f"the id {id!r} {why}: pass another one, or none to have one made"
            )
        self._skip(id)
        return id

    def remember(self, ids: Iterable[str], taken: Taken) -> None:
        """The caller sends a frame of its own that will be answered under these.

        Raises: ValidationError when a cancel has one of them, and nothing has changed.
        """
        for id in ids:
            why = taken(id)
            if why is not None:
                raise ValidationError(
                    f"the id {id!r} in this frame {why}, so that its answer could be taken for the cancel's: use another id"
                )
        for id in ids:
            self._skip(id)
            self._own.pop(id, None)
            self._own[id] = None
            if len(self._own) > _OWN_IDS:
                del self._own[next(iter(self._own))]

    def _skip(self, id: str) -> None:
        """Never make this id: the caller has used it."""
        digits = id[len(self._prefix) :]
        if (
            id.startswith(self._prefix)
            and digits.isascii()
            and digits.isdigit()
            and len(digits) <= _COUNTED
        ):
            self._counter = max(self._counter, int(digits))
