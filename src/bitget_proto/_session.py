"""A life across connections, as a pure state machine: no socket, no clock, no thread, no task, no chance.

The promise is that of `Connection`, kept across drops: every cancel that `cancel` took gets exactly one outcome, and the
outcome is honest about all of its attempts.

Rules of this file
- It is a router. What a frame means, `Connection` decides; what an attempt's outcome means for a cancel, `_attempts` does;
  when to dial, `_redial`. Here is decided which link a cancel is on, and which link serves.
- `poll` is the only way out. Inputs say what happened on which link and never raise for what the world did; those for a link
  that is over, or never was, are ignored. A command that is refused raises `LocalProtocolError`, and nothing has changed.
- The state changes in `_move`, by the table of `_session_states`. A cancel leaves `_open` in `_settle` and nowhere else.
- What a timer does happens in `handle_timeout` alone. `poll` compares backoff, spacing and paces with `now` and fires nothing.
- The jitter is asked last: it is the caller's, and when it raises nothing is left half done.
- A cancel comes back from a link only when that link is over, or has never handed it out. So a link that can still speak has
  never sent a cancel that another one holds: there is no second answer to one cancel to be judged.

It does not know sockets, any clock, nor how a frame is spelled.

A cancel's way: `cancel` puts it into `_open` (all that have no outcome) and `_queue` (those that no link holds). `_hand_over`
gives it to the link that serves, under the same id and with what is left of its time. The link's outcome for it is the end, or
brings it back into `_queue`.

It is a little long because whatever moves a cancel, a link or the state stands here, to be read together.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable
from math import inf, nextafter

import attrs

from ._attempts import Cancel
from ._codec import DEFAULT, Codec
from ._codes import REFUSED_FOR_GOOD, STAMP_REFUSED
from ._connection import Connection, check_frame, check_new, unsent_ids
from ._credentials import SignedLogin
from ._errors import LocalProtocolError, NoRoom, ValidationError, check_part, shown
from ._events import (
    Accepted,
    Closed,
    Event,
    GoingAway,
    Hangup,
    LoginRejected,
    Outcome,
    Ready,
    Rejected,
    Transmit,
    Unresolved,
    Wait,
    WhyUnresolved,
)
from ._orders import CancelOrder, check_request_id
from ._pace import Budget
from ._redial import Redial
from ._session_config import Policy, SessionConfig, check_policy
from ._session_events import Dial, Down, Ended, LinkClosed, LinkHangup, LinkTransmit, SessionOutput, Up
from ._session_states import SESSION_TRANSITIONS, SessionCause, SessionState, SessionStep, WhyEnded
from ._spacing import Spacing
from ._states import State, WhyClosed
from ._timers import Deadlines, Timer, after, finite_time, is_seconds

_NORMAL_CLOSURE = 1000
_COUNTED = 15
"""Digits that the counter of generated ids can come to have."""


_DOWN, _DIALLING, _UP, _MOVING = SessionState.DOWN, SessionState.DIALLING, SessionState.UP, SessionState.MOVING
_CLOSING, _ENDED = SessionState.CLOSING, SessionState.ENDED


@attrs.define(eq=False)
class _Link:
    number: int
    connection: Connection
    dial_until: float
    """When the dial is given up; infinity once it has been answered."""

    rotate_at: float = inf
    up_at: float = inf
    leaving: bool = False
    """Whether it is to be left: the exchange is going away, or it is too old."""

    refusal: LoginRejected | None = None


class Session:
    """The client's side for as long as you like: it asks for WebSockets when it needs them, and keeps cancels across them.

    Drain `poll`: the first thing that it gives is a `Dial`. `jitter` gives a number from 0 to 1 each time it is called, such as
    `random.random`; it spreads the dials of a fleet. `codec` and `budget` are shared by all links. Without a budget they share
    one that lets as many cancels go in a second as a single link would (`Budget(None)` for none), or else two links would send
    twice as many at the moment at which one follows the other.

    `now` is a number of seconds on any clock that you choose and that does not run backwards; a `now` that does counts as
    standing still. Every call raises LocalProtocolError for a `now` that is no finite number, or a `link` that is none, and
    nothing has changed. The `jitter` is yours: what it raises comes out of the call that asked for it.

    It has no lock: call it from one thread, and from others through a queue into that one.

    Raises: ValidationError for a part that is none.
    """

    __slots__ = (
        "_budget", "_codec", "_config", "_counter", "_deadlines", "_dialled", "_down_since", "_ending", "_hand_over_at",
        "_links", "_next", "_now", "_open", "_outputs", "_own", "_queue", "_redial", "_refusals", "_serving", "_spacing",
        "_stamp_refused", "_state", "_taken",
    )  # fmt: skip

    def __init__(
        self,
        config: SessionConfig | None = None,
        codec: Codec | None = None,
        budget: Budget | None = None,
        *,
        jitter: Callable[[], float],
    ) -> None:
        check_part("config", config, SessionConfig)
        check_part("codec", codec, Codec)
        check_part("budget", budget, Budget)
        if not callable(jitter):
            raise ValidationError(
                f"jitter must be a function that gives numbers from 0 to 1; got {shown(jitter)}: pass random.random"
            )
        self._config = SessionConfig() if config is None else config
        self._codec = DEFAULT if codec is None else codec
        self._budget = Budget(self._config.link.messages_per_second) if budget is None else budget
        self._state = _DOWN
        self._now = -inf
        self._outputs: deque[SessionOutput] = deque()

        self._open: dict[str, Cancel] = {}
        self._queue: dict[str, Cancel] = {}
        self._hand_over_at = inf
        """When the next of the queue can be handed over, as far as is known."""
        self._own: deque[str] = deque()
        self._counter = self._taken = 0
        self._deadlines: Deadlines[Cancel] = Deadlines()
        self._spacing = Spacing(self._config.resend_interval)

        self._links: dict[int, _Link] = {}
        """Those that are not over: at most one that serves, one that is to follow, and those that drain."""
        self._serving: _Link | None = None
        self._next: _Link | None = None
        self._dialled = 0
        self._redial = Redial(self._config, jitter)
        self._refusals = 0
        self._stamp_refused = False
        self._down_since: float | None = None
        self._ending: Ended | None = None
        """What the end will be, once every link is over."""

    def __repr__(self) -> str:
        return f"<Session {self._state.value}, {len(self._open)} in flight>"

    # --- looking changes nothing ---

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many cancels were taken and have no outcome yet, those included that wait for a link."""
        return len(self._open)

    @property
    def capacity(self) -> int:
        """How many calls of `cancel` would succeed now: one bound over all links and the queue."""
        if self._ending is not None:
            return 0
        limit = self._config.link.max_in_flight
        return sys.maxsize if limit is None else limit - len(self._open)

    @property
    def config(self) -> SessionConfig:
        """The limits it was built with."""
        return self._config

    # --- the world happened ---

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """The WebSocket that `Dial` asked for is open; `login` was signed for about this moment. Drain `poll`.

        Ignored when the link is over: its `LinkHangup` has told you to give up the dial.

        Raises: LocalProtocolError when it was called before, or for what is no `SignedLogin`, and nothing has changed.
        """
        now = finite_time(now, self._now)
        known = self._find(link)
        if known is not None:
            known.connection.opened(now, login=login)
            known.dial_until = inf
            lifetime = self._config.lifetime
            if lifetime is not None:
                known.rotate_at = now + (lifetime - self._config.rotate_before)
        self._now = now

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """The WebSocket of this link brought this message, text or bytes, whole. Then drain `poll`.

        Raises: LocalProtocolError when it is neither text nor bytes, and nothing has changed.
        """
        now = finite_time(now, self._now)
        known = self._find(link)
        if known is not None:
            known.connection.receive(message, now)
        self._now = now
        if known is not None:
            self._collect(known)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,  # noqa: ARG002
    ) -> None:
        """The transport of this link has ended, or could not be opened; `reason` is for people. Then drain `poll`.

        `unsent` are the ids of cancels that were handed out on it and of whose frames provably not one byte left.

        Raises: LocalProtocolError for what are no ids or no time, and nothing has changed.
        """
        now = finite_time(now, self._now)
        known = self._find(link)
        ids = unsent_ids(unsent)
        self._now = now
        if known is not None:
            known.connection.lost(now, reason, ids)
            self._collect(known)

    def handle_timeout(self, now: float) -> None:
        """Time has passed: fire what is due, on each link and here. Then drain `poll`. Early, late or repeated: harmless."""
        self._now = now = finite_time(now, self._now)
        for link in list(self._links.values()):
            link.connection.handle_timeout(now)
            self._collect(link)
            if link.dial_until <= now:
                self._give_up(link)
        # What a link holds has been dealt with there: whatever is still overdue is in the queue.
        while (first := self._deadlines.first()) is not None and first.deadline <= now:
            del self._queue[first.id]
            self._settle(first, first.unresolved(WhyUnresolved.TIMEOUT, now))
        serving = self._serving
        if serving is not None and self._state is _UP and serving.rotate_at <= now:
            self._leave(serving)

    # --- you want something ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> str:
        """Take a cancel; returns the id under which exactly one outcome will come, whatever becomes of links. Drain `poll`.

        `id` and `timeout` are as for `Connection.cancel`; the deadline counts from now, time without a link included. `policy`
        says what becomes of it when a link ends after it was sent and before it was answered; without it
        `SessionConfig.policy`.

        Raises: LocalProtocolError when the session is closing or has ended; NoRoom when `Config.max_in_flight` cancels have no
        outcome; ValidationError for an order, id, timeout or policy that makes no sense. In each case nothing has changed.
        """
        now = finite_time(now, self._now)
        if self._ending is not None:
            raise LocalProtocolError(f"the session {self._how_it_ends()} and takes no more cancels: use another one")
        if not isinstance(order, CancelOrder):
            raise ValidationError(
                f"order must be a CancelOrder; got {shown(order)}: pass CancelOrder('BTCUSDT', order_id=…)"
            )
        limits = self._config.link
        if limits.max_in_flight is not None and len(self._open) >= limits.max_in_flight:
            raise NoRoom(f"Config.max_in_flight ({limits.max_in_flight}) is reached: wait for an outcome and try again")
        if timeout is None:
            timeout = limits.request_timeout
        elif not is_seconds(timeout):
            raise ValidationError(
                "timeout must be a number of seconds above 0 (math.inf for no limit, None for Config.request_timeout); got "
                f"{shown(timeout)}"
            )
        policy = self._config.policy if policy is None else check_policy(policy)
        id = self._make_id() if id is None else self._check_id(id)
        self._now = now
        self._taken += 1
        cancel = Cancel(
            id=id,
            order=order,
            deadline=after(now, timeout),
            taken_at=now,
            resend=policy is Policy.RESEND and (order.order_id is not None or self._config.client_oids_unique),
            number=self._taken,
        )
        self._open[id] = cancel
        self._deadlines.add(cancel)
        self._enqueue(cancel)
        self._hand_over(now)
        return id

    def send(self, text: str, now: float) -> None:
        """Hand out a frame of your own (a subscription, …) on the link that serves, or on the next one that will.

        What is answered to it arrives as `Unrecognised`. Nothing tells whether it left: a link that ends drops what it was
        given, and subscriptions end with it. Ask for them at each `Up`.

        Raises: LocalProtocolError when the session is closing or has ended; NoRoom when `Config.max_own_frames` wait;
        ValidationError for what cannot be a text message. In each case nothing has changed.
        """
        now = finite_time(now, self._now)
        if self._ending is not None:
            raise LocalProtocolError(f"the session {self._how_it_ends()} and takes no more frames: use another one")
        if self._serving is not None:
            self._serving.connection.send(text, now)
        else:
            check_frame(text)
            limit = self._config.link.max_own_frames
            if limit is not None and len(self._own) >= limit:
                raise NoRoom(
                    f"Config.max_own_frames ({limit}) is reached: wait until a frame of yours has left and try again"
                )
            self._own.append(text)
        self._now = now

    def close(self, now: float) -> None:
        """End the session in good order. Then drain `poll`.

        What was not handed out is `Unresolved` at once; what was sent has until `Config.drain_timeout` to be answered. When
        nothing is in flight, or at the second call, the session ends now. After the end: harmless.
        """
        self._now = now = finite_time(now, self._now)
        if self._ending is None:
            self._end(Ended(why=WhyEnded.ASKED, detail="", code=None))
        else:
            for link in list(self._links.values()):
                link.connection.close(now)
                self._collect(link)

    # --- the way out ---

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """The next thing to do or to know: call it until it gives a `Wait`, after every input and command.

        `busy` are the links on which a write of yours is under way: for these it gives everything but a `LinkTransmit`.
        """
        self._now = now = finite_time(now, self._now)
        outputs = self._outputs
        if outputs:
            return outputs.popleft()
        self._hand_over(now)
        until, timer = self._next_deadline()
        if self._state is _DOWN or (self._state is _MOVING and self._next is None):
            opens = self._redial.opens(now)
            if opens <= now:
                return self._dial(now)
            if opens < until:
                until, timer = opens, Timer.DIAL
        for link in self._links.values():
            output = link.connection.poll(now, link.number not in busy)
            if not isinstance(output, Wait):
                self._route(link, output)
                return outputs.popleft()
            if output.until is not None and output.until <= until:
                until, timer = output.until, output.timer
        return Wait(None if timer is None else until, timer)

    def _next_deadline(self) -> tuple[float, Timer | None]:
        """What is due first of what the links know nothing of."""
        until, timer = inf, None
        first = self._deadlines.first()
        if first is not None:
            until, timer = first.deadline, Timer.REQUEST
        following, serving = self._next, self._serving
        if following is not None and following.dial_until < until:
            until, timer = following.dial_until, Timer.DIALLED
        if serving is not None:
            if self._state is _UP and serving.rotate_at < until:
                until, timer = serving.rotate_at, Timer.ROTATION
            if self._hand_over_at < until:
                until, timer = self._hand_over_at, Timer.SPACING
        return until, timer

    # --- a recorder, before the first call ---

    def _overheard(
        self, budget: Callable[[Budget], Budget], jitter: Callable[[Callable[[], float]], Callable[[], float]]
    ) -> tuple[Codec, Collection[int]]:
        """Let these stand before the budget and the jitter; gives the codec, and a view of the links that are not over. Of what
        is private `record` uses this alone.

        Raises: ValidationError when something was called before, and nothing has changed.
        """
        check_new(self._now)
        self._budget = budget(self._budget)
        self._redial.overheard(jitter)
        return self._codec, self._links.keys()

    # --- links ---

    def _connect(self) -> Connection:
        return Connection(self._config.link, self._codec, self._budget)

    def _find(self, link: int) -> _Link | None:
        if isinstance(link, bool) or not isinstance(link, int):
            raise ValidationError(f"link must be the number of a link, as Dial gave it; got {shown(link)}")
        return self._links.get(link)

    def _how_it_ends(self) -> str:
        return "has ended" if self._state is SessionState.ENDED else f"is {self._state.value}"

    def _dial(self, now: float) -> Dial:
        self._dialled += 1
        number = self._dialled
        self._redial.dialled(now)
        link = _Link(number, self._connect(), after(now, self._config.dial_timeout))
        self._links[number] = self._next = link
        if self._state is _DOWN:
            self._move(SessionStep.DIALLED)
            if self._down_since is None:
                self._down_since = now
        return Dial(link=number, stamp_refused=self._stamp_refused)

    def _give_up(self, link: _Link) -> None:
        """The driver has not answered the dial; should it do so later, nobody listens."""
        detail = f"no answer to the dial within {self._config.dial_timeout} s"
        self._outputs.append(LinkHangup(code=_NORMAL_CLOSURE, reason=detail, link=link.number))
        self._over(link, Closed(why=WhyClosed.LOST, detail=detail))

    def _collect(self, link: _Link) -> None:
        """Take what a link has to say. Frames stay where they are until `poll`."""
        while not isinstance(output := link.connection.poll(self._now, writable=False), Wait):
            self._route(link, output)

    def _route(self, link: _Link, output: Transmit | Hangup | Event) -> None:
        """Whatever a link gives, goes where it belongs."""
        if isinstance(output, Transmit):
            if output.id is not None:
                self._handed_out(self._open[output.id])
            self._outputs.append(LinkTransmit(text=output.text, id=output.id, secret=output.secret, link=link.number))
        elif isinstance(output, Accepted | Rejected | Unresolved):
            self._attempted(self._open[output.id], output)
        elif isinstance(output, Hangup):
            self._outputs.append(LinkHangup(code=output.code, reason=output.reason, link=link.number))
        elif isinstance(output, Ready):
            self._ready(link)
        elif isinstance(output, Closed):
            self._over(link, output)
        else:
            self._outputs.append(output)
            if isinstance(output, LoginRejected):
                link.refusal = output
            elif isinstance(output, GoingAway):
                self._going_away(link)

    def _ready(self, link: _Link) -> None:
        """The link that was dialled serves from now on; the one before is left, and its queue comes back by itself."""
        now, before, down_since = self._now, self._serving, self._down_since
        self._serving, self._next, self._down_since = link, None, None
        self._refusals, self._stamp_refused = 0, False
        self._hand_over_at = -inf
        link.up_at = now
        self._move(SessionStep.READY)
        self._outputs.append(Up(link=link.number, down_for=0.0 if down_since is None else now - down_since))
        if before is not None:
            before.connection.close(now)
            self._collect(before)
        while self._own:
            link.connection.send(self._own.popleft(), now)
        if link.leaving:
            self._leave(link)

    def _going_away(self, link: _Link) -> None:
        if link is self._next:
            # Its login may still be answered: until then there is nothing to leave.
            link.leaving = True
        elif link is self._serving and self._state is _UP:
            self._leave(link)

    def _leave(self, link: _Link) -> None:
        """Dial the successor; the link serves until that is ready."""
        self._move(SessionStep.LEAVING)
        self._redial.served(self._now - link.up_at)
        self._redial.back_off(self._now)

    def _over(self, link: _Link, closed: Closed) -> None:
        """A link has ended; what it held has come back or has its outcome."""
        now = self._now
        del self._links[link.number]
        self._outputs.append(LinkClosed(link=link.number, why=closed.why, detail=closed.detail))
        if self._ending is not None:
            if not self._links:
                self._finish(self._ending)
        elif link is self._serving:
            self._serving, self._down_since = None, now
            up_for = now - link.up_at
            self._outputs.append(Down(link=link.number, why=closed.why, detail=closed.detail, up_for=up_for))
            if self._next is not None:
                self._move(SessionStep.OVERTAKEN)
                return
            was_up = self._state is _UP
            self._move(SessionStep.LOST)
            if was_up:
                # Else the moment of the next dial was chosen when the session began to move.
                self._redial.served(up_for)
                self._redial.back_off(now)
        elif link is self._next:
            self._next = None
            end = None if link.refusal is None else self._refused(link.refusal)
            if end is not None:
                self._end(end)
                return
            if self._state is _DIALLING:
                self._move(SessionStep.LOST)
            self._redial.back_off(now)

    def _refused(self, refusal: LoginRejected) -> Ended | None:
        """The end, when a login that was refused so need not be tried again."""
        why = None
        if refusal.code in STAMP_REFUSED:
            if self._stamp_refused:
                why = WhyEnded.STAMP_REFUSED
            self._stamp_refused = True
        elif refusal.code_class in REFUSED_FOR_GOOD:
            why = WhyEnded.REFUSED
        else:
            self._refusals += 1
            limit = self._config.max_refusals
            if limit is not None and self._refusals >= limit:
                why = WhyEnded.REFUSED_AGAIN
        return None if why is None else Ended(why=why, detail=refusal.message, code=refusal.code)

    # --- cancels ---

    def _enqueue(self, cancel: Cancel) -> None:
        self._queue[cancel.id] = cancel
        self._hand_over_at = -inf

    def _hand_over(self, now: float) -> None:
        """Give the link that serves what waits for it, in the order taken."""
        serving, queue = self._serving, self._queue
        if serving is None or self._hand_over_at > now:
            return
        self._hand_over_at = inf
        for cancel in sorted(queue.values(), key=_in_order):
            if cancel.deadline <= now:
                # No longer to be sent, and `handle_timeout` will say so.
                continue
            if cancel.sent_at is not None:
                opens = self._spacing.opens(cancel.order)
                if opens > now:
                    self._hand_over_at = min(self._hand_over_at, opens)
                    continue
            serving.connection.cancel(cancel.order, now, cancel.id, _seconds_until(cancel.deadline, now))
            self._collect(serving)
            del queue[cancel.id]
            cancel.waiting = True
            self._spacing.waits(cancel.order)

    def _handed_out(self, cancel: Cancel) -> None:
        cancel.waiting = False
        self._spacing.handed_out(cancel.order, self._now)
        # Another cancel of the same order may have waited to know this moment.
        self._hand_over_at = -inf

    def _attempted(self, cancel: Cancel, attempt: Outcome) -> None:
        """A link has an outcome for a cancel that it held."""
        if cancel.waiting:
            cancel.waiting = False
            self._spacing.withdrawn(cancel.order)
            self._hand_over_at = -inf
        outcome = cancel.outcome_of(attempt, ending=self._ending is not None)
        if outcome is None:
            self._enqueue(cancel)
        else:
            self._settle(cancel, outcome)

    def _settle(self, cancel: Cancel, outcome: Outcome) -> None:
        """The one place where a cancel gets its outcome and is open no longer."""
        cancel.done = True
        # With nothing between these two: a signal's handler may raise wherever it likes.
        del self._open[cancel.id]
        self._outputs.append(outcome)
        self._deadlines.settled(cancel)

    def _make_id(self) -> str:
        while True:
            self._counter += 1
            id = f"{self._config.link.id_prefix}{self._counter}"
            if id not in self._open and not self._is_late(id):
                return id

    def _check_id(self, id: object) -> str:
        id = check_request_id(id)
        if id in self._open:
            raise ValidationError(f"the id {id!r} is in flight: pass another one, or none to have one made")
        if self._is_late(id):
            raise ValidationError(
                f"the id {id!r} was used for a cancel whose answer may still come: pass another one, or none to have one made"
            )
        prefix = self._config.link.id_prefix
        digits = id[len(prefix) :]
        if id.startswith(prefix) and digits.isdigit() and len(digits) <= _COUNTED:
            # Never make an id that the caller has used: a second answer to that one would be taken for the new one's.
            self._counter = max(self._counter, int(digits))
        return id

    def _is_late(self, id: str) -> bool:
        """Whether a link that is not over may still bring an answer under this id."""
        return any(id in link.connection._late for link in self._links.values())

    # --- the end ---

    def _end(self, ended: Ended) -> None:
        """Begin the end: what waits has its outcome now, each link drains, and the last one to close ends the session."""
        self._ending = ended
        self._serving = self._next = None
        self._own.clear()
        for cancel in sorted(self._queue.values(), key=_in_order):
            self._settle(cancel, cancel.unresolved(WhyUnresolved.CLOSED, self._now))
        self._queue.clear()
        if not self._links:
            self._finish(ended)
            return
        for link in list(self._links.values()):
            if link.connection.state is not State.DRAINING:
                # One that drains already goes on draining: a second `close` would end it now.
                link.connection.close(self._now)
                self._collect(link)
        if self._links:
            self._move(SessionStep.CLOSING)

    def _finish(self, ended: Ended) -> None:
        self._move(ended.why)
        self._outputs.append(ended)

    def _move(self, cause: SessionCause) -> None:
        """The one place where the state changes, by the table."""
        self._state = SESSION_TRANSITIONS[self._state][cause]


def _in_order(cancel: Cancel) -> int:
    return cancel.number


def _seconds_until(deadline: float, now: float) -> float:
    """What to add to `now` for the deadline. No number may give it, since sums are rounded: then the last one before it."""
    seconds = nextafter(deadline - now, inf)
    while now + seconds > deadline:
        seconds = nextafter(seconds, 0.0)
    return seconds
