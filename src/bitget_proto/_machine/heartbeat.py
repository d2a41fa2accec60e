"""Pings: the heartbeat, and the probe of a silent link.

- The heartbeat's ping is due every 30 s. It must be answered within 10 s of its due time, whether
  it was written or not, so that a stalled writer is noticed. Only `pong` answers it.
- A link is silent while an answer is due and no message of any kind arrives. It is probed once in
  each silent period. The time for the answer starts when the ping is sent or, if it cannot be
  written, when it could have been sent. Any message ends the period.

PING and PONG are alarms of the connection. SILENCE needs no alarm: `silence_due_at` computes its
time from the last message and the oldest unanswered cancel.
"""

from __future__ import annotations

from math import inf, nextafter

from .._values.timers import Timer
from .connection_config import Config
from .deadlines import Alarms, after


class Heartbeat:
    """The pings of one connection; sets PING and PONG among the connection's alarms."""

    __slots__ = (
        "_alarms",
        "_config",
        "_probe_queued",
        "_queued_ping_deadline",
        "_silence",
        "heard_at",
        "ping_pending",
        "probe_deadline",
    )  # fmt: skip

    def __init__(self, config: Config, alarms: Alarms) -> None:
        self._config = config
        self._alarms = alarms
        self.heard_at = -inf
        """When the last message arrived."""
        self.ping_pending = False
        """Whether a ping is waiting to be sent."""
        self._queued_ping_deadline = inf
        """The deadline for the answer to a waiting heartbeat ping; infinity if there is none."""
        self.probe_deadline: float | None = None
        """The deadline for a message after a probe; None if this silent period has no probe."""
        self._probe_queued = False
        """Whether the probing ping is waiting to be sent."""
        self._silence = inf if config.silence is None else config.silence
        """Seconds of silence before the link is probed; infinity for never."""

    def start(self, now: float) -> None:
        """Start the heartbeat: the socket is open."""
        self.heard_at = now
        self._alarms[Timer.PING] = after(now, self._config.ping_interval)

    def stop(self) -> None:
        """Stop all pings."""
        self._alarms[Timer.PING] = self._alarms[Timer.PONG] = inf
        self.ping_pending = False
        self.probe_deadline = None
        self._silence = inf

    def beat(self, now: float) -> None:
        """Handle PING: a heartbeat ping is due."""
        alarms, config = self._alarms, self._config
        # For a very large `now`, adding a few seconds may not change the float. `nextafter` makes
        # sure that both timers still lie in the future.
        later = nextafter(now, inf)
        alarms[Timer.PING] = max(after(now, config.ping_interval), later)
        if self._queued_ping_deadline == inf:
            self._queued_ping_deadline = max(after(now, config.pong_timeout), later)
        self.ping_pending = True
        alarms[Timer.PONG] = min(alarms[Timer.PONG], self._queued_ping_deadline)

    def sent(self, now: float) -> None:
        """Note that the waiting ping is sent."""
        self.ping_pending = False
        self._queued_ping_deadline = inf
        if self._probe_queued and self.probe_deadline is not None:
            # A following heartbeat ping does not extend this deadline.
            self.probe_deadline = max(after(now, self._config.silence_pong), nextafter(now, inf))
        self._probe_queued = False

    def pong(self) -> None:
        """Handle a pong. It answers the pings sent; a waiting ping keeps its deadline."""
        self._alarms[Timer.PONG] = self._queued_ping_deadline

    # --- silence ---

    def heard(self, now: float) -> None:
        """Note that a message of any kind arrived."""
        self.heard_at = now
        self.probe_deadline = None

    def silence_due_at(self, sent_at: float) -> float:
        """Return when SILENCE is due, if the oldest unanswered cancel was sent at `sent_at`."""
        if self.probe_deadline is not None:
            return self.probe_deadline
        heard_at = self.heard_at
        return (sent_at if sent_at > heard_at else heard_at) + self._silence

    def probe(self, allowed_at: float) -> str | None:
        """Handle SILENCE: request a ping, which can be sent from `allowed_at` on.

        Return why the link is dead if it was already probed; else None.
        """
        seconds = self._config.silence_pong
        if self.probe_deadline is not None:
            return f"answers were due, and no message came within {seconds} s of a ping"
        self.ping_pending = self._probe_queued = True
        self.probe_deadline = max(after(allowed_at, seconds), nextafter(allowed_at, inf))
        return None
