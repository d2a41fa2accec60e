"""How one link of the scripted exchange, or all of them, behave: slow, holding back, silent.

Rules of this file
- Whatever the behaviour, the order of what is said is kept.
- A behaviour concerns everything that is said, pongs and pushes included. What goes wrong with one request is a `Fault`.
- To be silent is not to close: a connection that ends meanwhile is hung up when the link speaks again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from math import inf
from typing import Any, TypeAlias

import attrs

from ..._machine.deadlines import MAX
from ..._values.errors import ValidationError, safe_repr
from ..._values.events import Hangup, Transmit
from .exchange_connection import ConnectionDropped

Said: TypeAlias = Transmit | Hangup | ConnectionDropped


@attrs.define(kw_only=True)
class Behaviour:
    """What a link does with what it would say, and with what arrives."""

    late_by: float = 0.0
    held: bool = False
    silent: bool = False
    acts: bool = True
    """Whether what arrives in the silence is read and acted on."""

    @property
    def deaf(self) -> bool:
        """Whether nothing arrives."""
        return self.silent and not self.acts


class _Behaves(ABC):  # pyright: ignore[reportUnusedClass]
    """The words by which a behaviour is asked for, of one link or of all."""

    @abstractmethod
    def _behave(self, **changes: Any) -> None:
        """Change the behaviour, from now on."""

    def slow_down(self, seconds: float) -> None:
        """Say everything that many seconds late and in order, pongs included: a busy day, not a dead link. 0 ends it.

        Raises: ValidationError for a negative or infinite number, and nothing has changed.
        """
        self._behave(late_by=check_delay("seconds", seconds))

    def hold(self) -> None:
        """Hold back everything that is to be said, pongs included, until `release`. What arrives is acted on."""
        self._behave(held=True)

    def release(self) -> None:
        """Say what was held back, in one bunch and in order, and from now on everything at once."""
        self._behave(held=False)

    def go_silent(self, *, acts: bool = False) -> None:
        """Say nothing any more, not even a pong, and keep the socket open. What would be said is lost.

        By default it is a half-open link: nothing arrives either. With `acts`, it is a stuck server: it acts on what
        arrives and does not answer.
        """
        self._behave(silent=True, acts=acts)

    def speak(self) -> None:
        """End the silence. What would have been said in it stays lost; timers that fell due in it fire."""
        self._behave(silent=False)


class Outbox:
    """What one link says, on its way out."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._waiting: deque[tuple[float, Said]] = deque()
        """When each is due, and what it is."""
        self._over = False

    def put(self, said: Said, now: float) -> None:
        """Take what is said at `now`."""
        if not (self.behaviour.silent and isinstance(said, Transmit)):
            last = self._waiting[-1][0] if self._waiting else -inf
            self._waiting.append(
                (-inf if self._over else max(now + self.behaviour.late_by, last), said)
            )

    def pop(self, now: float, *, writable: bool) -> Said | None:
        """What is due first, and it is gone from here; None when nothing is."""
        return self._waiting.popleft()[1] if self.due(writable=writable) <= now else None

    def due(self, *, writable: bool) -> float:
        """When the next is due; infinity when no time brings it."""
        if not self._waiting or ((self.behaviour.held or self.behaviour.silent) and not self._over):
            return inf
        due, said = self._waiting[0]
        return due if writable or not isinstance(said, Transmit) else inf

    def forget(self) -> None:
        """What was to be said is lost; the end stays."""
        self._waiting = deque(item for item in self._waiting if not isinstance(item[1], Transmit))

    def end(self) -> None:
        """The transport is gone: of what waits, only the end itself can be known, and that at once."""
        self._over = True
        self._waiting = deque(
            (-inf, said) for _, said in self._waiting if isinstance(said, ConnectionDropped)
        )


def check_delay(name: str, value: object) -> float:
    """A number of seconds, 0 included.

    Raises: ValidationError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX:
        raise ValidationError(
            f"{name} must be a finite number of seconds from 0 up; got {safe_repr(value)}"
        )
    return value
