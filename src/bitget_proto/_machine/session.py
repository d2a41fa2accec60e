"""A life across connections, as a pure state machine: no socket, no clock, no thread, no task, no chance.

The promise is that of `Connection`, kept across drops: every cancel that `cancel` took gets exactly one outcome, and the
outcome is honest about all of its attempts.

Rules of this file
- It is a router. What a frame means, `Connection` decides; what an attempt's outcome means for a cancel,
  `cancel_attempts` does; when to dial, `backoff`. Here is decided which link a cancel is on, and which link serves.
- `poll` is the only way out. Inputs say what happened on which link and never raise for what the world did; those for a link
  that is over, or never was, are ignored. A command that is refused raises `LocalProtocolError`, and nothing has changed.
- The state changes in `_move`, by the table of `session_states`. A cancel leaves `_open` in `_settle` and nowhere else.
- What a timer does happens in `handle_timeout` alone. `poll` compares backoff, spacing and paces with `now` and fires nothing.
- The session holds the queue. A link is given a cancel when it sends it, and gives it back only when the link is over. So a
  link that can still speak has never sent a cancel that another one holds: there is no second answer to be judged.
- Interruptions are dealt with as in `connection`. The jitter is the caller's: it is asked while no call is marked as under
  way, so that what it raises leaves nothing half done.

It does not know sockets, any clock, nor how a frame is spelled.

The way of a cancel: `cancel` puts it into `_open` (all that have no outcome) and `_queue` (those that no link holds). `poll`
lets the link that serves send it, under the same id and with what is left of its time. The link's outcome for it is the end, or
brings it back into `_queue`.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable
from math import inf
from typing import cast

from .._values.codes import REFUSED_FOR_GOOD, STAMP_REFUSED
from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError, NoRoom, ValidationError, check_part, safe_repr
from .._values.events import (
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
from .._values.orders import CancelOrder
from .._values.set_module import set_module
from .._values.states import State, WhyClosed
from .._values.timers import Timer
from .._wire.codec import DEFAULT, Codec
from .arguments import (
    Queued,
    as_message,
    check_closing,
    check_frame,
    check_new,
    check_order,
    check_orders,
    check_timeout,
    no_room,
    unsent_ids,
)
from .backoff import Redial
from .cancel_attempts import Cancel
from .connection import NORMAL_CLOSURE, Connection, settled
from .deadlines import MAX, after, finite_time
from .links import Link, Links
from .rate_limit import Budget
from .request_ids import IN_FLIGHT, MAY_BE_ANSWERED, RequestIds
from .session_config import Policy, SessionConfig, check_policy
from .session_events import (
    Dial,
    Down,
    Ended,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    SessionOutput,
    Up,
)
from .session_queue import SessionQueue
from .session_states import SESSION_TRANSITIONS, SessionCause, SessionState, SessionStep, WhyEnded

_DOWN, _DIALLING, _UP, _MOVING = (
    SessionState.DOWN,
    SessionState.DIALLING,
    SessionState.UP,
    SessionState.MOVING,
)
_CLOSING, _ENDED = SessionState.CLOSING, SessionState.ENDED


@set_module("bitget_proto")
class Session:
    """The client's side for as long as you like: it asks for WebSockets when it needs them, and keeps cancels across them.

    Drain `poll`: the first thing that it gives is a `Dial`. `jitter` gives a number from 0 to 1 each time it is called, such as
    `random.random`; it spreads the dials of a fleet. `codec` and `budget` are shared by all links. Without a budget they share
    one that lets as many cancels go in a second as a single link would (`Budget(None)` for none), or else two links would send
    twice as many at the moment at which one follows the other.

    `now` is a number of seconds on any clock that you choose and that does not run backwards; a `now` that does counts as
    standing still. Every call raises LocalProtocolError for a `now` that is no finite number, or a `link` that is none, and
    nothing has changed. The `jitter` is yours: what it raises comes out of `poll`.

    An exception that passes through a call, such as a signal handler's, ends the session at the next call: what was to come out
    still does, then one honest outcome for each cancel that has none (INTERRUPTED), a hangup for each link, and `Ended`. One
    that came before the call had begun leaves everything as it was: repeat an input that was interrupted.

    It has no lock: call it from one thread, and from others through a queue into that one.

    Raises: ValidationError for a part that is none.
    """

    __slots__ = (
        "_budget", "_cancels", "_close_at", "_closing", "_codec", "_config", "_down_since", "_ending", "_ids", "_inside",
        "_links", "_now", "_outputs", "_own", "_redial", "_stamp_refused", "_state", "_was_up",
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
                f"jitter must be a function that gives numbers from 0 to 1; got {safe_repr(jitter)}: pass random.random"
            )
        self._config = SessionConfig() if config is None else config
        link = self._config.link
        self._codec = DEFAULT if codec is None else codec
        self._budget = (
            Budget(link.messages_per_second, link.pace_margin) if budget is None else budget
        )
        self._state = _DOWN
        self._now = -inf
        self._inside = False
        """Whether a call is under way, or an exception has passed through one."""
        self._outputs: deque[SessionOutput] = deque()

        self._cancels = SessionQueue(self._config)
        self._own: deque[str] = deque()
        """Frames of the caller's own that wait for a link."""
        self._ids = RequestIds(link.id_prefix)
        self._links = Links()
        self._redial = Redial(self._config, jitter)
        self._stamp_refused = self._was_up = False
        self._down_since: float | None = None
        self._closing = False
        """Whether `close` was called: no more is taken."""
        self._close_at = inf
        """Until when `close` waits for what is queued."""
        self._ending: Ended | None = None
        """What the end will be, once every link is over."""

    def __repr__(self) -> str:
        return f"<Session {self._state.value}, {len(self._cancels)} in flight>"

    # --- looking changes nothing ---

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many cancels were taken and have no outcome yet, those included that wait for a link."""
        return len(self._cancels)

    @property
    def capacity(self) -> int:
        """How many calls of `cancel` would succeed now: one bound over all links and the queue."""
        if self._closing or self._ending is not None:
            return 0
        limit = self._config.link.max_in_flight
        return sys.maxsize if limit is None else limit - len(self._cancels)

    @property
    def config(self) -> SessionConfig:
        """The limits it was built with."""
        return self._config

    # --- the world happened ---

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """The WebSocket that `Dial` asked for is open; `login` was signed for about this moment. Drain `poll`.

        Ignored when the link is over: its `LinkHangup` has asked you to give up the dial.

        Raises: LocalProtocolError when it was called before, or for what is no `SignedLogin`, and nothing has changed.
        """
        now = self._begin(now)
        known = self._links.find(link)
        if known is not None:
            known.connection._check_opens(login)
        self._inside, self._now = True, now
        if known is not None:
            known.connection.opened(now, login=login)
            known.dial_until = inf
            lifetime = self._config.lifetime
            if lifetime is not None:
                known.rotate_at = now + (lifetime - self._config.rotate_before)
        self._inside = False

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """The WebSocket of this link brought this message, text or bytes, whole. Then drain `poll`.

        Raises: LocalProtocolError when it is neither text nor bytes, and nothing has changed.
        """
        now = self._begin(now)
        known = self._links.find(link)
        message = as_message(message)
        self._inside, self._now = True, now
        if known is not None:
            known.connection.receive(message, now)
            self._collect(known)
            self._end_if_done()
        self._inside = False

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """The transport of this link has ended, or could not be opened; `reason` is for people. Then drain `poll`.

        `unsent` are the ids of cancels that were handed out on it and of whose frames provably not one byte left.
        `retry_after` is how many seconds the exchange asks not to be dialled for (HTTP 429 with `Retry-After`): no dial
        follows before, or before 300 s when it is more.

        Raises: LocalProtocolError for what are no ids, no time or no number of seconds, and nothing has changed.
        """
        now = self._begin(now)
        known = self._links.find(link)
        ids = unsent_ids(unsent)
        if retry_after is not None:
            retry_after = _checked_retry_after(retry_after)
        self._inside, self._now = True, now
        if known is not None:
            if retry_after is not None:
                self._redial.retry_after(now, retry_after)
            known.connection.lost(now, reason, ids)
            self._collect(known)
            self._end_if_done()
        self._inside = False

    def handle_timeout(self, now: float) -> None:
        """Time has passed: fire what is due, on each link and here. Then drain `poll`. Early, late or repeated: harmless."""
        now = self._begin(now)
        self._inside, self._now = True, now
        for link in list(self._links.all.values()):
            link.connection.handle_timeout(now)
            self._collect(link)
            if link.dial_until <= now:
                self._give_up(link)
        while (cancel := self._cancels.expired(now)) is not None:
            self._settle(cancel, cancel.unresolved(WhyUnresolved.TIMEOUT, now))
        while (cancel := self._without_link(now)) is not None:
            self._settle(cancel, cancel.unresolved(WhyUnresolved.NO_LINK, now))
        serving = self._links.serving
        if serving is not None and self._state is _UP and serving.rotate_at <= now:
            self._leave(serving)
        if self._close_at <= now and self._ending is None:
            self._end(_ASKED)
        self._end_if_done()
        self._inside = False

    # --- you want something ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        """Take a cancel; returns the id under which exactly one outcome will come, whatever becomes of links. Drain `poll`.

        `id`, `timeout` and `urgent` are as for `Connection.cancel`. It has `Config.queue_timeout` seconds from now to be sent,
        and each attempt `Config.answer_timeout` to be answered; while no link serves it waits for at most
        `SessionConfig.no_link_timeout`. `policy` says what becomes of it when a link ends after it was sent and before it was
        answered; without it `SessionConfig.policy`.

        Raises: LocalProtocolError when the session is closing or has ended; NoRoom when `Config.max_in_flight` cancels have no
        outcome; ValidationError for an order, id, timeout or policy that makes no sense. In each case nothing has changed.
        """
        now = self._begin(now)
        self._check_takes(1)
        check_order(order)
        until = inf if timeout is None else now + check_timeout(timeout)
        policy = self._config.policy if policy is None else check_policy(policy)
        id = self._ids.make() if id is None else self._ids.check(id, self._why_refused)
        self._inside, self._now = True, now
        self._take(id, order, now, until, policy, urgent=urgent)
        self._inside = False
        return id

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Take many cancels, all or none; returns their ids in the order of `orders`. Then drain `poll`.

        `timeout`, `policy` and what is raised are as for `cancel`. NoRoom when there is no room for all of them.
        """
        now = self._begin(now)
        given = check_orders(orders)
        self._check_takes(len(given))
        until = inf if timeout is None else now + check_timeout(timeout)
        policy = self._config.policy if policy is None else check_policy(policy)
        self._inside, self._now = True, now
        ids = [self._ids.make() for _ in given]
        for id, order in zip(ids, given, strict=True):
            self._take(id, order, now, until, policy, urgent=False)
        self._inside = False
        return ids

    def withdraw(self, id: str, now: float) -> bool:
        """Take back a cancel that has not left: it is `Unresolved(sent=False)` with WITHDRAWN. Then drain `poll`.

        False, and nothing has changed, when it has left on any link, or when no cancel of this id is open.
        """
        now = self._begin(now)
        waiting = self._cancels.waiting.get(id) if isinstance(id, str) else None
        self._inside, self._now = True, now
        withdrawn = waiting is not None and waiting.sent_at is None
        if waiting is not None and withdrawn:
            self._settle(waiting, waiting.unresolved(WhyUnresolved.WITHDRAWN, now))
            self._end_if_done()
        self._inside = False
        return withdrawn

    def send(self, text: str, now: float) -> None:
        """Hand out a frame of your own on the link that serves, or on the next one that will. As `Connection.send`.

        A link that ends drops what it was given, and subscriptions end with it: ask for them at each `Up`.

        Raises: LocalProtocolError when the session is closing or has ended; NoRoom when `Config.max_own_frames` wait;
        ValidationError for what cannot be a text message, or has the id of a cancel. In each case nothing has changed.
        """
        now = self._begin(now)
        if self._closing or self._ending is not None:
            raise LocalProtocolError(
                f"the session {self._how_it_ends()} and takes no more frames: use another one"
            )
        check_frame(text)
        serving, limit = self._links.serving, self._config.link.max_own_frames
        usable = serving is not None and serving.connection.state is State.READY
        own = serving.connection._frames.own if serving is not None and usable else self._own
        if limit is not None and len(own) >= limit:
            raise NoRoom(
                f"Config.max_own_frames ({limit}) is reached: wait until a frame of yours has left and try again"
            )
        self._ids.remember(self._codec.trade_ids(text), self._why_taken)
        self._now = now
        own.append(text)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """End the session in good order; no more is taken. Then drain `poll`.

        `queued` and `within` are as for `Connection.close`. With `queued="send"` the session goes on dialling for what is
        queued, and while no link serves `SessionConfig.no_link_timeout` holds. When nothing is open, or at one more call, the
        session ends now. After the end: harmless.

        Raises: ValidationError for another `queued`, or a `within` that is no number of seconds, and nothing has changed.
        """
        now = self._begin(now)
        check_closing(queued, within)
        self._inside, self._now = True, now
        again = self._closing or self._ending is not None
        if self._ending is None and (again or queued == "drop"):
            self._end(_ASKED, within=within)
        if again:
            for link in list(self._links.all.values()):
                link.connection.close(now)
                self._collect(link)
        elif queued == "send":
            self._closing = True
            self._close_at = after(
                now, self._config.link.queue_timeout if within is None else within
            )
            self._end_if_done()
        self._inside = False

    # --- the way out ---

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """The next thing to do or to know: call it until it gives a `Wait`, after every input and command.

        `busy` are the links on which a write of yours is under way: for these it gives everything but a `LinkTransmit`.

        Raises: LocalProtocolError for a `busy` that is no container of numbers, and nothing has changed.
        """
        now = self._begin(now)
        busy = self._links.busy(busy)
        self._now = now
        while True:
            outputs = self._outputs
            if outputs:
                given = outputs[0]
                del outputs[0]
                return given
            opens = inf
            if self._state is _DOWN or (self._state is _MOVING and self._links.following is None):
                opens = self._redial.opens()
            self._inside = True
            output = self._dial(now) if opens <= now else self._advance(now, busy, opens)
            self._inside = False
            if output is not None:
                return output

    def _advance(
        self, now: float, busy: Container[int], dial_at: float
    ) -> LinkTransmit | Wait | None:
        """Let a frame leave, or say how long to wait; None when an output has come, or may have."""
        opens, sends = inf, None
        if self._cancels.waiting.size:
            frame = self._next_cancel(now, busy)
            if isinstance(frame, LinkTransmit):
                return frame
            opens, sends = frame
        until, timer = self._next_timer()
        if opens < until:
            until, timer = opens, sends
        wait = None
        for link in self._links.all.values():
            output = link.connection.poll(now, link.number not in busy)
            if isinstance(output, Transmit):
                return LinkTransmit(output.text, None, output.secret, link=link.number)
            if not isinstance(output, Wait):
                self._route(link, output)
                self._collect(link)
                return None
            if output.until is not None and output.until <= until:
                until, wait = output.until, output
        if dial_at < until:
            return Wait(dial_at, Timer.DIAL)
        return wait or Wait(None if timer is None else until, timer)

    def _next_timer(self) -> tuple[float, Timer | None]:
        """What is due first of what the links know nothing of."""
        until = self._cancels.due()
        timer = None if until == inf else Timer.REQUEST
        following, serving = self._links.following, self._links.serving
        if serving is None and self._cancels.waiting.size:
            for cancel in self._cancels.waiting.heads():
                if (at := self._link_until(cancel)) < until:
                    until, timer = at, Timer.NO_LINK
        if following is not None and following.dial_until < until:
            until, timer = following.dial_until, Timer.DIALLED
        if serving is not None and self._state is _UP and serving.rotate_at < until:
            until, timer = serving.rotate_at, Timer.ROTATION
        if self._close_at < until and self._ending is None:
            until, timer = self._close_at, Timer.DRAIN
        return until, timer

    # --- a recorder, before the first call ---

    def _overheard(
        self,
        budget: Callable[[Budget], Budget],
        jitter: Callable[[Callable[[], float]], Callable[[], float]],
    ) -> tuple[Codec, Collection[int]]:
        """Let these stand before the budget and the jitter; gives the codec, and a view of the links that are not over. Of what
        is private `record` uses this alone.

        Raises: ValidationError when something was called before, and nothing has changed.
        """
        check_new(self._now)
        self._budget = budget(self._budget)
        self._redial.overheard(jitter)
        return self._codec, self._links.all.keys()

    # --- links ---

    def _connect(self) -> Connection:
        return Connection(self._config.link, self._codec, self._budget)

    def _how_it_ends(self) -> str:
        return "has ended" if self._state is _ENDED else "is closing"

    def _begin(self, now: float) -> float:
        """The time of a call, checked. A call before it that was interrupted has ended the session.

        Raises: LocalProtocolError when it is no finite number, and nothing has changed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._inside:
            self._recover()
        return now

    def _dial(self, now: float) -> Dial:
        self._redial.dialled(now)
        link = self._links.dial(self._connect(), after(now, self._config.dial_timeout))
        if self._state is _DOWN:
            self._move(SessionStep.DIALLED)
            if self._down_since is None:
                self._down_since = now
        return Dial(link=link.number, stamp_refused=self._stamp_refused)

    def _give_up(self, link: Link) -> None:
        """The driver has not answered the dial; should it do so later, that is ignored."""
        detail = f"no answer to the dial within {self._config.dial_timeout} s"
        self._outputs.append(LinkHangup(code=NORMAL_CLOSURE, reason=detail, link=link.number))
        self._over(link, Closed(why=WhyClosed.LOST, detail=detail))

    def _collect(self, link: Link) -> None:
        """Take what a link has to say. Frames stay where they are until `poll`."""
        while outputs := link.connection._outputs:
            self._route(link, cast("Hangup | Event", outputs.popleft()))

    def _route(self, link: Link, output: Hangup | Event) -> None:
        """Whatever a link gives, goes where it belongs."""
        if isinstance(output, (Accepted, Rejected, Unresolved)):
            self._attempted(self._cancels.open[output.id], output)
        elif isinstance(output, Hangup):
            self._outputs.append(
                LinkHangup(
                    code=output.code, reason=output.reason, abort=output.abort, link=link.number
                )
            )
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

    def _ready(self, link: Link) -> None:
        """The link that was dialled serves from now on. The one before is left: what was sent on it keeps its own deadlines."""
        links, now, down_since = self._links, self._now, self._down_since
        before, links.serving, links.following = links.serving, link, None
        self._down_since = None
        self._stamp_refused, self._was_up = False, True
        link.up_at = now
        self._move(SessionStep.READY)
        self._outputs.append(
            Up(link=link.number, down_for=0.0 if down_since is None else now - down_since)
        )
        if before is not None and before.connection.state is State.READY:
            before.connection.close(now, within=inf)
            self._collect(before)
        link.connection._frames.own.extend(self._own)
        self._own.clear()
        if link.leaving:
            self._leave(link)

    def _going_away(self, link: Link) -> None:
        if link is self._links.following:
            # Its login may still be answered: until then there is nothing to leave.
            link.leaving = True
        elif link is self._links.serving and self._state is _UP:
            self._leave(link)

    def _leave(self, link: Link) -> None:
        """Dial the successor; the link serves until that is ready."""
        self._move(SessionStep.LEAVING)
        self._redial.served(self._now - link.up_at)
        self._redial.back_off(self._now)

    def _over(self, link: Link, closed: Closed) -> None:
        """A link has ended; what it held has come back or has its outcome."""
        links, now = self._links, self._now
        self._outputs.append(LinkClosed(link=link.number, why=closed.why, detail=closed.detail))
        del links.all[link.number]
        if self._ending is not None:
            if not links.all:
                self._finish(self._ending)
        elif link is links.serving:
            links.serving, self._down_since = None, now
            up_for = now - link.up_at
            self._outputs.append(
                Down(link=link.number, why=closed.why, detail=closed.detail, up_for=up_for)
            )
            if links.following is not None:
                self._move(SessionStep.OVERTAKEN)
                return
            was_up = self._state is _UP
            self._move(SessionStep.LOST)
            self._redial.served(up_for)
            if was_up:
                self._redial.back_off(now)
            else:
                # The moment of the next dial was chosen when the session began to move, or when a successor was refused.
                self._redial.hasten(now)
        elif link is links.following:
            links.following = None
            end = None if link.refusal is None else self._refused(link.refusal)
            if end is not None and links.serving is None:
                self._end(end)
                return
            if self._state is _DIALLING:
                self._move(SessionStep.LOST)
            self._redial.back_off(now)

    def _refused(self, refusal: LoginRejected) -> Ended | None:
        """The end, when a login that was refused so need not be tried again: unless a link serves."""
        why = None
        if refusal.code in STAMP_REFUSED:
            if self._stamp_refused and not self._was_up:
                why = WhyEnded.STAMP_REFUSED
            self._stamp_refused = True
        elif refusal.code in REFUSED_FOR_GOOD:
            why = WhyEnded.REFUSED
        return None if why is None else Ended(why=why, detail=refusal.message, code=refusal.code)

    # --- cancels ---

    def _take(
        self, id: str, order: CancelOrder, now: float, until: float, policy: Policy, *, urgent: bool
    ) -> None:
        resend = policy is Policy.RESEND and (
            order.order_id is not None or self._config.client_oids_unique
        )
        self._cancels.take(id, order, now, until, resend=resend, urgent=urgent)

    def _next_cancel(
        self, now: float, busy: Container[int]
    ) -> LinkTransmit | tuple[float, Timer | None]:
        """Let the link that serves send the next cancel, if it can send one now; else when that may be, and why not before."""
        serving = self._links.serving
        if serving is None or serving.number in busy or self._close_at <= now:
            return inf, None
        opens = serving.connection._opens(now)
        if opens > now:
            return opens, None if opens == inf else Timer.PACING
        first, opens = self._cancels.next(now)
        if first is not None:
            return self._hand_out(first, serving)
        return opens, None if opens == inf else Timer.SPACING

    def _hand_out(self, cancel: Cancel, link: Link) -> LinkTransmit:
        now = cancel.trying_since = self._now
        text = link.connection._send(cancel.id, cancel.order, cancel.taken_at, cancel.until, now)
        self._cancels.hand_out(cancel, now)
        return LinkTransmit(text, cancel.id, link=link.number)

    def _attempted(self, cancel: Cancel, attempt: Outcome) -> None:
        """A link has an outcome for a cancel that it held."""
        outcome = cancel.outcome_of(attempt, ending=self._ending is not None)
        if outcome is None:
            self._cancels.give_back(cancel)
        else:
            self._settle(cancel, outcome)

    def _link_until(self, cancel: Cancel) -> float:
        """Until when a cancel waits while no link serves."""
        since = (
            cancel.taken_at if self._down_since is None else max(cancel.taken_at, self._down_since)
        )
        return after(since, self._config.no_link_timeout)

    def _without_link(self, now: float) -> Cancel | None:
        """One that has found no link for too long."""
        if self._links.serving is not None:
            return None
        for cancel in self._cancels.waiting.heads():
            if self._link_until(cancel) <= now:
                return cancel
        return None

    def _settle(self, cancel: Cancel, outcome: Outcome) -> None:
        """The one place where a cancel gets its outcome and is open no longer."""
        self._outputs.append(outcome)
        self._cancels.remove(cancel)

    def _check_takes(self, count: int) -> None:
        """Let no command pass for so many cancels unless they can be taken.

        Raises: LocalProtocolError or NoRoom, and nothing has changed.
        """
        if self._closing or self._ending is not None:
            raise LocalProtocolError(
                f"the session {self._how_it_ends()} and takes no more cancels: use another one"
            )
        limit = self._config.link.max_in_flight
        if limit is not None and len(self._cancels) + count > limit:
            raise no_room(limit, len(self._cancels), count)

    def _why_taken(self, id: str) -> str | None:
        """Why no other request may have this id, as an error says it; None when one may."""
        if id in self._cancels.open:
            return IN_FLIGHT
        for link in self._links.all.values():
            if id in link.connection._in_flight.late:
                return MAY_BE_ANSWERED
        return None

    def _why_refused(self, id: str) -> str | None:
        return IN_FLIGHT if id in settled(self._outputs) else self._why_taken(id)

    # --- the end ---

    def _end_if_done(self) -> None:
        """The end, when `close` was called and nothing is open."""
        if self._closing and self._ending is None and not self._cancels:
            self._end(_ASKED, queued="send")

    def _end(self, ended: Ended, queued: Queued = "drop", within: float | None = None) -> None:
        """Begin the end: what waits has its outcome now, each link drains, and the last one to close ends the session."""
        self._ending = ended
        self._links.none_leads()
        for cancel in self._cancels.in_order():
            self._settle(cancel, cancel.unresolved(WhyUnresolved.CLOSED, self._now))
        if not self._links.all:
            self._finish(ended)
            return
        seconds = self._config.link.drain_timeout if within is None else within
        for link in list(self._links.all.values()):
            if link.connection.state is State.DRAINING and link.connection.in_flight:
                # A second `close` would end it now.
                link.connection._drain_within(self._now, seconds)
            else:
                link.connection.close(self._now, queued, inf if seconds is None else seconds)
                self._collect(link)
        if self._links.all:
            self._move(SessionStep.CLOSING)

    def _finish(self, ended: Ended) -> None:
        self._outputs.append(ended)
        self._move(ended.why)

    def _recover(self) -> None:
        """An exception has passed through a call, and how far it came is not known. What was to come out still does, then one
        honest outcome for each cancel that has none, then the end. When this is interrupted too, the next call does it again.
        """
        if self._state is not _ENDED:
            ended = Ended(why=WhyEnded.INTERRUPTED, detail="", code=None)
            kept = [output for output in self._outputs if not self._is_of_the_end(output)]
            done = settled(kept)
            kept.extend(
                cancel.unresolved(WhyUnresolved.INTERRUPTED, self._now)
                for cancel in self._cancels.open.values()
                if cancel.id not in done
            )
            why = WhyClosed.INTERRUPTED
            for number in self._links.all:
                kept.append(
                    LinkHangup(code=NORMAL_CLOSURE, reason=why.value, abort=True, link=number)
                )
                kept.append(LinkClosed(link=number, why=why, detail=""))
            self._outputs = deque([*kept, ended])
            self._ending = ended
            self._links.none_leads()
            self._links.all.clear()
            self._cancels.clear()
            self._move(WhyEnded.INTERRUPTED)
        self._inside = False

    def _is_of_the_end(self, output: SessionOutput) -> bool:
        """Whether `_recover` says this anew: the end, and that of a link which is not over."""
        return isinstance(output, Ended) or (
            isinstance(output, LinkHangup | LinkClosed) and output.link in self._links.all
        )

    def _move(self, cause: SessionCause) -> None:
        """The one place where the state changes, by the table."""
        self._state = SESSION_TRANSITIONS[self._state][cause]


_ASKED = Ended(why=WhyEnded.ASKED, detail="", code=None)


def _checked_retry_after(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (float, int)) or not value >= 0:
        raise ValidationError(
            f"retry_after must be a number of seconds from 0 up, or None; got {safe_repr(value)}"
        )
    return value
