"""Pings: the heartbeat, and the question that a silent link is asked.

Rules of this file
- The heartbeat's ping falls due every 30 s. It must be answered within 10 s of falling due, written or not: a stalled writer
  must be noticed. Only `pong` answers it.
- A link is silent while an answer is due and no message of any kind comes. It is asked once in each silent spell, by a ping
  that counts from its sending; one that cannot be written counts from when it could have been sent. Any message ends the spell.

It does not know cancels, frames or any clock. PING and PONG are alarms of the connection's; when the silence is due can be
computed from what is known, so no alarm is kept for it.
"""

from __future__ import annotations

from math import inf, nextafter

from .._values.timers import Timer
from .connection_config import Config
from .deadlines import Alarms, after


class Heartbeat:
    """The pings of one connection. It sets its alarms among those of the connection."""

    __slots__ = (
        "_alarms", "_config", "_due_pong_at", "_question_waits", "_silence", "asked_until", "heard_at", "ping_due",
    )  # fmt: skip

    def __init__(self, config: Config, alarms: Alarms) -> None:
        self._config = config
        self._alarms = alarms
        self.heard_at = -inf
        """When the last message came."""
        self.ping_due = False
        """Whether a ping waits to be sent."""
        self._due_pong_at = inf
        """Until when the ping that waits must be answered, when it is the heartbeat's; else infinity."""
        self.asked_until: float | None = None
        """In a silent spell in which the link has been asked: until when a message must come. Else None."""
        self._question_waits = False
        """Whether the ping that asks waits to be sent."""
        self._silence = inf if config.silence is None else config.silence
        """Seconds of silence until the link is asked; infinity for never."""

    def start(self, now: float) -> None:
        """The socket is open."""
        self.heard_at = now
        self._alarms[Timer.PING] = after(now, self._config.ping_interval)

    def stop(self) -> None:
        """No ping is sent any more."""
        self._alarms[Timer.PING] = self._alarms[Timer.PONG] = inf
        self.ping_due = False
        self.asked_until = None
        self._silence = inf

    def beat(self, now: float) -> None:
        """PING is due."""
        alarms, config = self._alarms, self._config
        # A clock so large that adding seconds does not move it must make neither due at once.
        later = nextafter(now, inf)
        alarms[Timer.PING] = max(after(now, config.ping_interval), later)
        if self._due_pong_at == inf:
            self._due_pong_at = max(after(now, config.pong_timeout), later)
        self.ping_due = True
        alarms[Timer.PONG] = min(alarms[Timer.PONG], self._due_pong_at)

    def sent(self, now: float) -> None:
        """The ping that waited is sent now."""
        self.ping_due = False
        self._due_pong_at = inf
        if self._question_waits and self.asked_until is not None:
            # A ping of the heartbeat, should it follow, gives the exchange no more time.
            self.asked_until = max(after(now, self._config.silence_pong), nextafter(now, inf))
        self._question_waits = False

    def pong(self) -> None:
        """A pong has come. It answers what was sent; a ping that waits to be sent must still be noticed."""
        self._alarms[Timer.PONG] = self._due_pong_at

    # --- the silence ---

    def heard(self, now: float) -> None:
        """A message has come, whatever it says."""
        self.heard_at = now
        self.asked_until = None

    def silence_at(self, sent_at: float) -> float:
        """When SILENCE is due, where the oldest cancel that is unanswered was sent at this time; infinity for none."""
        if self.asked_until is not None:
            return self.asked_until
        heard_at = self.heard_at
        return (sent_at if sent_at > heard_at else heard_at) + self._silence

    def ask(self, opens: float) -> bool:
        """SILENCE is due, and a ping can be sent from `opens` on. Whether the link has been asked already: then it is dead."""
        if self.asked_until is not None:
            return True
        self.ping_due = self._question_waits = True
        self.asked_until = max(after(opens, self._config.silence_pong), nextafter(opens, inf))
        return False
