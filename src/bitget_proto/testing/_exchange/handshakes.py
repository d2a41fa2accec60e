"""WebSocket handshakes that the scripted exchange refuses."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus

from ..._values.errors import ValidationError, safe_repr
from .logins import check_times


class Handshakes:
    """The refusals to come."""

    def __init__(self) -> None:
        self._coming: deque[tuple[int, int | None]] = deque()

    def refuse(self, n: int, status: int, retry_after: int | None) -> None:
        """Refuse the next `n` handshakes.

        Raises: the same as `ScriptedExchange.refuse_handshakes`.
        """
        if status not in {known.value for known in HTTPStatus if known >= HTTPStatus.BAD_REQUEST}:
            raise ValidationError(
                f"status must be an HTTP error status, such as 429; got {safe_repr(status)}"
            )
        if retry_after is not None and (
            isinstance(retry_after, bool) or not isinstance(retry_after, int) or retry_after < 0
        ):
            raise ValidationError(
                "retry_after must be a whole number of seconds from 0 up, or None; "
                f"got {safe_repr(retry_after)}"
            )
        self._coming.extend([(status, retry_after)] * check_times(n))

    def pop(self) -> tuple[int, int | None] | None:
        """Return the status and `Retry-After` for the handshake that has just arrived, or None."""
        return self._coming.popleft() if self._coming else None
