"""The links of a session: when one is dialled, which serve, and what the end of a link means.

A session has `SessionConfig.links` lanes, one by default. In a lane at most one link serves, which
means that it sends cancels, and at most one is being dialled. The others drain.

Rules for changes
- The state changes in `Links.move` only, which looks the new state up in `SESSION_TRANSITIONS`.
  Each lane has a state. The state of the session is the best state of its lanes.
- While no link serves, one link is dialled at a time. So a refused login means the same as with one
  lane.
- The jitter function is the caller's. `next_dial` calls it, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from math import inf

import attrs

from .._values.codes import REFUSED_FOR_GOOD, STAMP_REFUSED
from .._values.errors import LocalProtocolError, ValidationError, safe_repr
from .._values.events import CallerError, LoginRejected
from .backoff import Draw, Redial, dial_pace
from .connection import Connection
from .deadlines import after
from .session_config import SessionConfig
from .session_events import Ended
from .session_states import SESSION_TRANSITIONS, SessionCause, SessionState, SessionStep, WhyEnded

_DOWN, _DIALLING, _UP, _MOVING = (
    SessionState.DOWN,
    SessionState.DIALLING,
    SessionState.UP,
    SessionState.MOVING,
)

_BEST_FIRST = (_UP, _MOVING, _DIALLING, _DOWN)
"""The states of a lane. The state of the session is the first of these that any lane has."""


@attrs.define(eq=False)
class Lane:
    """One of the links that a session keeps open, and its successors."""

    redial: Redial
    state: SessionState = SessionState.DOWN
    serving: Link | None = None
    """The link that sends cancels."""

    successor: Link | None = None
    """The link that was dialled and whose login is not accepted yet."""


@attrs.define(eq=False)
class Link:
    """A connection of a session, from its dial to its end."""

    number: int
    lane: Lane
    connection: Connection
    dial_until: float
    """When the dial is given up; infinity once the driver has answered it."""

    rotate_at: float = inf
    """When its successor is dialled because of its age."""

    up_at: float = inf
    """When its login was accepted; infinity before that."""

    wrote_at: float = -inf
    """When `poll` returned its last frame."""

    leaving: bool = False
    """Whether the exchange announced the end of the link (30033) before its login was accepted."""

    refusal: LoginRejected | None = None
    """The refusal of its login."""


class Links:
    """The lanes of a session, their states, and the links that have not ended."""

    __slots__ = (
        "_config",
        "_dialled",
        "_ever_up",
        "all",
        "down_since",
        "lanes",
        "stamp_refused",
        "state",
    )

    def __init__(self, config: SessionConfig, jitter: Callable[[], float]) -> None:
        self._config = config
        self._dialled = 0
        self._ever_up = False
        pace = dial_pace(config)
        self.lanes = [Lane(Redial(config, jitter, pace)) for _ in range(config.links)]
        self.all: dict[int, Link] = {}
        """The links by number."""
        self.state = _DOWN
        """The state of the session: the best state of its lanes, or CLOSING or ENDED."""
        self.down_since: float | None = None
        """Since when no link serves; None while a link serves, and before the first dial."""
        self.stamp_refused = False
        """Whether the timestamp of the last login was refused."""

    def move(self, cause: SessionCause, lane: Lane | None = None) -> None:
        """Set the state of a lane, or of all lanes, from the table. States change nowhere else."""
        if lane is None:
            state = SESSION_TRANSITIONS[self.state][cause]
            for each in self.lanes:
                each.state = state
            self.state = state  # last, because an ended session is not recovered
            return
        lane.state = SESSION_TRANSITIONS[lane.state][cause]
        states = [each.state for each in self.lanes]
        self.state = next(state for state in _BEST_FIRST if state in states)

    # --- dials ---

    def wrap_jitter(self, by: Callable[[Draw], Draw]) -> None:
        """Wrap the jitter function, for a recorder."""
        for lane in self.lanes:
            lane.redial.wrap_jitter(by)

    def next_dial(self) -> tuple[float, Lane | None] | CallerError:
        """Return when the next dial is allowed, and its lane; or how the jitter failed."""
        earliest, chosen = inf, None
        alone = not self.serving
        for lane in self.lanes:
            if alone and lane.successor is not None:
                return inf, None
            if lane.state is _DOWN or (lane.state is _MOVING and lane.successor is None):
                allowed_at = lane.redial.allowed_at()
                if isinstance(allowed_at, CallerError):
                    return allowed_at
                if allowed_at < earliest:
                    earliest, chosen = allowed_at, lane
        return earliest, chosen

    def dial(self, lane: Lane, connection: Connection, now: float) -> Link:
        """Add a link to a lane and return it."""
        lane.redial.dialled(now)
        self._dialled += 1
        link = Link(self._dialled, lane, connection, after(now, self._config.dial_timeout))
        self.all[link.number] = lane.successor = link
        if lane.state is _DOWN:
            self.move(SessionStep.DIALLED, lane)
            if self.down_since is None and not self.serving:
                self.down_since = now
        return link

    def dial_failed(self, link: Link, now: float) -> Ended | None:
        """Handle the end of a successor. Return `Ended` if the session must not dial again."""
        lane, alone = link.lane, not self.serving
        lane.successor = None
        end = None if link.refusal is None else self._refused(link.refusal)
        if end is not None and alone:
            return end
        if lane.state is _DIALLING:
            self.move(SessionStep.LOST, lane)
        for other in self.lanes:
            # While no link serves, one lane dials at a time. The others back off too, so that none
            # of them dials at once in place of this one.
            if other is lane or (alone and other.state is _DOWN):
                other.redial.back_off(now)
        return None

    def _refused(self, refusal: LoginRejected) -> Ended | None:
        """Return `Ended` if the session must not dial again after this refusal; else None."""
        why = None
        if refusal.code in STAMP_REFUSED:
            if self.stamp_refused and not self._ever_up:
                why = WhyEnded.STAMP_REFUSED
            self.stamp_refused = True
        elif refusal.code in REFUSED_FOR_GOOD:
            why = WhyEnded.REFUSED
        return None if why is None else Ended(why=why, detail=refusal.message, code=refusal.code)

    # --- serving ---

    @property
    def serving(self) -> list[Link]:
        """The links that send cancels."""
        return [lane.serving for lane in self.lanes if lane.serving is not None]

    def serve(self, link: Link, now: float) -> tuple[Link | None, float]:
        """Let a successor serve. Return the link before it, and how long no link served."""
        lane, down_since = link.lane, self.down_since
        before, lane.serving, lane.successor = lane.serving, link, None
        self.down_since = None
        self.stamp_refused, self._ever_up = False, True
        link.up_at = now
        self.move(SessionStep.READY, lane)
        return before, 0.0 if down_since is None else now - down_since

    def going_away(self, link: Link, now: float) -> None:
        """Handle the announcement of a link's end (30033)."""
        lane = link.lane
        if link is lane.successor:
            # Its login may still be accepted. It is replaced once it serves.
            link.leaving = True
        elif link is lane.serving and lane.state is _UP:
            self.leave(link, now)

    def leave(self, link: Link, now: float) -> None:
        """Schedule the dial of a successor. The link serves until that is ready."""
        self.move(SessionStep.LEAVING, link.lane)
        link.lane.redial.served(now - link.up_at)
        link.lane.redial.back_off(now)

    def lost(self, link: Link, now: float) -> bool:
        """Handle the end of a serving link, and return whether no link serves any more."""
        lane = link.lane
        lane.serving = None
        alone = not self.serving
        if alone:
            self.down_since = now
        if lane.successor is not None:
            self.move(SessionStep.LOST_WHILE_MOVING, lane)
            return alone
        was_in_up = lane.state is _UP
        self.move(SessionStep.LOST, lane)
        lane.redial.served(now - link.up_at)
        if was_in_up:
            lane.redial.back_off(now)
        else:
            # The next dial was already scheduled, by `leave` or when the previous successor ended.
            # Only bring it forward.
            lane.redial.hasten(now)
        return alone

    def no_link_until(self, taken_at: float) -> float:
        """Return when a cancel that was taken at this time has waited too long for a link."""
        since = taken_at if self.down_since is None else max(taken_at, self.down_since)
        return after(since, self._config.no_link_timeout)

    # --- numbers ---

    def find(self, number: int) -> Link | None:
        """Return the link with this number; None if it has ended.

        Raises: ValidationError if `number` is not a whole number; LocalProtocolError if no link
        with this number was dialled.
        """
        if type(number) is not int:
            raise ValidationError(
                f"link must be the number of a link, as in Dial.link; got {safe_repr(number)}"
            )
        if not 0 < number <= self._dialled:
            raise LocalProtocolError(
                f"link {number} was never dialled; the last Dial has link {self._dialled}: pass "
                "the number that Dial.link gave"
                if self._dialled
                else f"link {number} was never dialled: drain poll first, which returns a Dial"
            )
        return self.all.get(number)

    def busy(self, busy: Container[int]) -> Container[int]:
        """Return the numbers of the busy links, in a container whose `in` does not raise.

        Raises: ValidationError if `busy` is not a container of link numbers.
        """
        if type(busy) in _SAFE:
            return busy
        if isinstance(busy, (str, bytes)) or not isinstance(busy, Container):
            raise ValidationError(f"busy must be a set of link numbers; got {safe_repr(busy)}")
        return [number for number in (REST, *self.all) if number in busy]

    def clear_roles(self) -> None:
        """Clear the serving link and the successor of each lane. The links stay in `all`."""
        for lane in self.lanes:
            lane.serving = lane.successor = None


REST = 0
"""Stands for REST among the numbers of links that are busy."""

_SAFE = (tuple, set, frozenset, list)
"""Containers whose `in` does not raise for a number."""
