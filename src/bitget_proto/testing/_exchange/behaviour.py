"""Behaviours of one link of the scripted exchange, or of all links: slow, holding back, silent.

- The order of messages is kept, whatever the behaviour.
- A behaviour applies to every message, pongs and pushes included. A `Fault` applies to one request.
- A silent link does not close: a connection that ends meanwhile is closed when the silence ends.
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
from .exchange_events import ConnectionDropped

LinkOutput: TypeAlias = Transmit | Hangup | ConnectionDropped


@attrs.define(kw_only=True)
class Behaviour:
    """How a link treats its outgoing and incoming messages."""

    late_by: float = 0.0
    held: bool = False
    silent: bool = False
    acts: bool = True
    """Whether messages that arrive while the link is silent are acted on."""

    @property
    def deaf(self) -> bool:
        """Whether incoming messages are ignored."""
        return self.silent and not self.acts


class _BehaviourCommands(ABC):  # pyright: ignore[reportUnusedClass]
    """The methods that set a behaviour, for one link or for all."""

    @abstractmethod
    def _behave(self, **changes: Any) -> None:
        """Change the behaviour from now on."""

    def slow_down(self, seconds: float) -> None:
        """Send every message, pongs included, this many seconds late and in order; 0 ends this.

        This simulates a busy exchange, not a dead link.

        Raises: ValidationError for a negative or infinite number; nothing changes then.
        """
        self._behave(late_by=check_delay("seconds", seconds))

    def hold(self) -> None:
        """Hold back every message, pongs included, until `release`. Requests are still acted on."""
        self._behave(held=True)

    def release(self) -> None:
        """Send all messages that were held back, at once and in order, and end the hold."""
        self._behave(held=False)

    def go_silent(self, *, acts: bool = False) -> None:
        """Send nothing, not even a pong, and keep the socket open. Outgoing messages are lost.

        By default this simulates a half-open link: incoming messages are ignored, too. With `acts`
        it simulates a stuck server, which acts on requests and does not answer.
        """
        self._behave(silent=True, acts=acts)

    def speak(self) -> None:
        """End the silence.

        Messages that were lost during it stay lost; timers that expired during it fire.
        """
        self._behave(silent=False)


class Outbox:
    """The outgoing messages of one link."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._waiting: deque[tuple[float, LinkOutput]] = deque()
        """The due time of each output, and the output."""
        self._over = False

    def put(self, output: LinkOutput, now: float) -> None:
        """Add an output that is produced at `now`."""
        if not (self.behaviour.silent and isinstance(output, Transmit)):
            last = self._waiting[-1][0] if self._waiting else -inf
            self._waiting.append(
                (-inf if self._over else max(now + self.behaviour.late_by, last), output)
            )

    def pop(self, now: float, *, writable: bool) -> LinkOutput | None:
        """Remove and return the next output that is due, or None."""
        return self._waiting.popleft()[1] if self.due(writable=writable) <= now else None

    def due(self, *, writable: bool) -> float:
        """Return when the next output is due; infinity when there is none or it is held back."""
        if not self._waiting or ((self.behaviour.held or self.behaviour.silent) and not self._over):
            return inf
        due, output = self._waiting[0]
        return due if writable or not isinstance(output, Transmit) else inf

    def forget(self) -> None:
        """Discard the pending messages; a hangup or the end of the connection stays."""
        self._waiting = deque(item for item in self._waiting if not isinstance(item[1], Transmit))

    def end(self) -> None:
        """Handle the end of the transport: only `ConnectionDropped` is kept, and is due at once."""
        self._over = True
        self._waiting = deque(
            (-inf, output) for _, output in self._waiting if isinstance(output, ConnectionDropped)
        )


def check_delay(name: str, value: object) -> float:
    """Check and return a finite number of seconds from 0 up.

    Raises: ValidationError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX:
        raise ValidationError(
            f"{name} must be a finite number of seconds from 0 up; got {safe_repr(value)}"
        )
    return value
