"""One WebSocket's life, as a pure state machine: no socket, no clock, no thread, no task.

The promise: every cancel that `cancel` took gets exactly one outcome, and the outcome is honest.

Rules of this file
- `poll` is the only way out, and inputs only ever add to what it gives. Looking (`state`, `in_flight`, `capacity`)
  changes nothing.
- An input says what happened and never raises for what the peer did. A command asks for something: when it is refused it
  raises `LocalProtocolError`, and nothing has changed.
- The state changes in `_move`, by the table of `_states`. The connection ends in `_end`, in one order.
- A cancel leaves the table of open cancels in `_settle` and nowhere else; there it gets its one outcome.
- What a timer does happens in `handle_timeout` alone. `poll` compares the paces with `now` and fires nothing.
- Nothing here is random, and nothing depends on how often or how late it is called, beyond the times it is told.

It does not know reconnecting, sockets, any clock, nor how a frame is spelled.

It is long, and stays in one piece: everything that can settle a cancel or move the state stands here, so that the promise can
be checked by reading one file. What could leave has left: deadlines, paces, the table of states, the wire.

A cancel's way: `cancel` puts it into `_open` (all that have no outcome) and `_queue` (those not handed out). `poll` takes
it from `_queue` and hands out its frame: from then on it counts as sent. A reply, a deadline or the end settles it.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from math import inf, nextafter

import attrs

from ._codec import DEFAULT, PING, Codec, as_text
from ._codes import ENDS, NOT_THE_LOGINS_ANSWER, REFUSALS, TOO_MANY_REQUESTS, CodeClass
from ._config import Config
from ._credentials import SignedLogin
from ._errors import LocalProtocolError, NoRoom, ValidationError, shown
from ._events import (
    Accepted,
    Closed,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LoginRejected,
    Outcome,
    Output,
    Ready,
    Rejected,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyUnrecognised,
    WhyUnresolved,
)
from ._messages import ErrorReply, LoginReply, Malformed, Pong, TradeReply
from ._orders import CancelOrder, check_request_id
from ._pace import Budget, Pace
from ._states import TRANSITIONS, Cause, State, Step, WhyClosed
from ._timers import MAX, Alarms, Deadlines, Timer, after, finite_time, is_seconds

_NORMAL_CLOSURE = 1000
"""RFC 6455, 7.4.1. The exchange documents no meaning for any other code from a client."""

_COUNTED = 15
"""Digits that the counter of generated ids can come to have."""

# In Python 3.11 looking a member up on its enum takes 0.1 µs, and a cancel's way has a dozen look-ups: a seventh of the cycle.
_NEW, _AUTHENTICATING, _READY = State.NEW, State.AUTHENTICATING, State.READY
_DRAINING, _CLOSED = State.DRAINING, State.CLOSED
_REQUEST, _LOGIN, _PONG = Timer.REQUEST, Timer.LOGIN, Timer.PONG
_DRAIN, _PING, _PACING = Timer.DRAIN, Timer.PING, Timer.PACING
_ACCEPTED = CodeClass.ACCEPTED


@attrs.define(eq=False)
class _OpenCancel:
    id: str
    order: CancelOrder
    deadline: float
    taken_at: float
    number: int
    """For an id of the caller's that reads like a generated one, the number in it; else 0."""

    sent_at: float | None = None
    """When it was handed out; None while it was not, or when its bytes provably never left."""

    done: bool = False


class Connection:
    """The client's side of one WebSocket: build one for each socket, drive it, and throw it away when it is `Closed`.

    `config` holds the limits, `codec` the JSON engine (the standard library's by default), `budget` the account's
    allowance of cancels when it is shared (none by default: the pace of the connection then is the only one).

    `now` is a number of seconds on any clock that you choose and that does not run backwards; a `now` that does counts
    as standing still. Every call raises LocalProtocolError for a `now` that is no finite number, and nothing has changed.

    It has no lock: call it from one thread, and from others through a queue into that one.

    Raises: ValidationError for a part that is none.
    """

    __slots__ = (
        "_alarms", "_budget", "_codec", "_config", "_counter", "_deadlines", "_due_pong_at", "_late", "_login", "_login_sent",
        "_now", "_open", "_opened", "_outputs", "_own", "_pace", "_ping_due", "_pong_owed", "_queue", "_quiet", "_state",
    )  # fmt: skip

    def __init__(self, config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None) -> None:
        parts: tuple[tuple[str, object, type], ...] = (
            ("config", config, Config), ("codec", codec, Codec), ("budget", budget, Budget),
        )  # fmt: skip
        for name, part, kind in parts:
            if part is not None and not isinstance(part, kind):
                raise ValidationError(f"{name} must be a {kind.__name__}, or None; got {shown(part)}")
        self._config = Config() if config is None else config
        self._codec = DEFAULT if codec is None else codec
        self._budget = budget
        self._state = _NEW
        self._opened = False
        self._now = -MAX
        self._outputs: deque[Output] = deque()

        self._open: dict[str, _OpenCancel] = {}
        self._queue: OrderedDict[str, _OpenCancel] = OrderedDict()
        self._late: OrderedDict[str, CancelOrder] = OrderedDict()
        self._own: deque[str] = deque()
        self._counter = 0
        self._pace = Pace(self._config.messages_per_second)

        self._login: SignedLogin | None = None
        """The login that waits to be handed out."""
        self._login_sent = False
        self._ping_due = False
        """Whether a ping waits to be handed out, …"""
        self._due_pong_at = inf
        """… and until when it must be answered."""
        self._pong_owed = False
        """Whether a ping was handed out and not answered: only then can a pong be its answer."""

        self._deadlines: Deadlines[_OpenCancel] = Deadlines()
        self._alarms = Alarms(_LOGIN, _PONG, _DRAIN, _PING)
        self._quiet = Wait(None, None)
        """For the alarm that is due first, given again while none is set: most drains end with it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.value}, {len(self._open)} in flight>"

    # --- looking changes nothing ---

    @property
    def state(self) -> State:
        """Where the connection is in its life."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many cancels were taken and have no outcome yet, the queued ones included."""
        return len(self._open)

    @property
    def capacity(self) -> int:
        """How many calls of `cancel` would succeed now."""
        if self._state is _DRAINING or self._state is _CLOSED:
            return 0
        limit = self._config.max_in_flight
        return sys.maxsize if limit is None else limit - len(self._open)

    @property
    def config(self) -> Config:
        """The limits it was built with."""
        return self._config

    # --- the world happened ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """The WebSocket is open; `login` was signed for about this moment. Drain `poll`: it hands out the login.

        Ignored when the connection has ended before (its `Hangup` has told you to give up the dial).

        Raises: LocalProtocolError when it was called before, or for what is no `SignedLogin`, and nothing has changed.
        """
        now = finite_time(now, self._now)
        if self._opened:
            raise LocalProtocolError("opened was called before: a Connection is for one WebSocket, so make another one")
        if not isinstance(login, SignedLogin):
            raise ValidationError(
                f"login must be a SignedLogin; got {shown(login)}: pass sign_login(credentials, int(time.time()))"
            )
        self._now = now
        if self._state is not _NEW:
            return
        self._opened = True
        self._move(Step.OPENED)
        self._login = login
        self._alarms[_LOGIN] = after(now, self._config.login_timeout)
        self._alarms[_PING] = after(now, self._config.ping_interval)

    def receive(self, message: str | bytes, now: float) -> None:
        """The WebSocket brought this message, text or bytes, whole. Then drain `poll`.

        Nothing that it says raises, and nothing but an error without id that says so (30004, 30007, or the login's
        refusal) ends the connection. Ignored before `opened` and after the end.

        Raises: LocalProtocolError when it is neither text nor bytes, and nothing has changed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        # On the way of every answer, here and below: one type is compared sooner than found among several.
        if type(message) is not bytes and not isinstance(message, (str, bytes)):
            if not isinstance(message, (bytearray, memoryview)):
                raise ValidationError(f"message must be str or bytes; got {shown(message)}")
            message = bytes(message)
        self._now = now
        if self._state is _NEW or self._state is _CLOSED:
            return
        config = self._config
        frame = self._codec.decode(message, max_message=config.max_message, max_depth=config.max_depth)
        if isinstance(frame, TradeReply) or isinstance(frame, ErrorReply):  # noqa: SIM101
            if frame.id is not None:
                self._reply(frame.id, frame, message)
            elif frame.names_request:
                self._unrecognised(message, WhyUnrecognised.NO_SINGLE_ID)
            elif isinstance(frame, ErrorReply):
                self._error(frame)
            else:
                self._unrecognised(message, WhyUnrecognised.NO_ID)
        elif isinstance(frame, Pong):
            if self._pong_owed:
                self._pong_owed = False
                self._alarms[_PONG] = inf
        elif isinstance(frame, LoginReply):
            self._login_reply(frame, message)
        elif isinstance(frame, Malformed):
            self._unrecognised(message, WhyUnrecognised.MALFORMED, frame.reason)
        else:
            self._unrecognised(message, WhyUnrecognised.OTHER)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """The transport has ended, or could not be opened; `reason` is for people. Then drain `poll`.

        `unsent` are the ids of cancels that were handed out and of whose frames provably not one byte left: they become
        `Unresolved(sent=False)`. When in doubt leave an id out. Ignored after the end.

        Raises: LocalProtocolError for what are no ids or no time, and nothing has changed.
        """
        now = finite_time(now, self._now)
        ids = unsent_ids(unsent)
        self._now = now
        if self._state is _CLOSED:
            return
        for id in ids:
            cancel = self._open.get(id)
            if cancel is not None:
                cancel.sent_at = None
        self._end(WhyClosed.LOST, reason)

    def handle_timeout(self, now: float) -> None:
        """Time has passed: fire what is due. Then drain `poll`. Early, late or repeated: harmless.

        Due timers fire by deadline; ties in the order REQUEST, LOGIN, PONG, DRAIN, PING.
        """
        now = finite_time(now, self._now)
        self._now = now
        deadlines, alarms = self._deadlines, self._alarms
        while True:
            first = deadlines.first()
            if first is not None and first.deadline <= min(now, alarms.until):
                self._unresolved(first, WhyUnresolved.TIMEOUT)
                if self._state is _DRAINING:
                    self._end_if_drained()
            elif alarms.until <= now:
                self._fire(alarms.timer)
            else:
                return

    # --- you want something ---

    def cancel(self, order: CancelOrder, now: float, id: str | None = None, timeout: float | None = None) -> str:
        """Take a cancel; returns the id under which exactly one outcome will come. Then drain `poll`.

        `id` is 1 to 40 of `0-9A-Za-z_:#-+` and the space, and none that is in flight or was left without an answer;
        without it one is made from `Config.id_prefix` and a counter. Use an id of your own once: one that was answered
        is taken again, but a second copy of its old answer would then settle the new cancel. `timeout` is in seconds
        from now, the time in the queue included; without it `Config.request_timeout`; infinity for none. Before the
        login is accepted, and when the paces are used up, cancels wait in the order they were taken.

        Raises: LocalProtocolError when the connection is closing or closed; NoRoom when `Config.max_in_flight` cancels
        have no outcome; ValidationError for an order, id or timeout that makes no sense. In each case nothing has changed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        state = self._state
        if state is _DRAINING or state is _CLOSED:
            raise LocalProtocolError(f"the connection is {state.value} and takes no more cancels: use another one")
        if not isinstance(order, CancelOrder):
            raise ValidationError(
                f"order must be a CancelOrder; got {shown(order)}: pass CancelOrder('BTCUSDT', order_id=…)"
            )
        config = self._config
        open_cancels = self._open
        limit = config.max_in_flight
        if limit is not None and len(open_cancels) >= limit:
            raise NoRoom(f"Config.max_in_flight ({limit}) is reached: wait for an outcome and try again")
        if timeout is None:
            timeout = config.request_timeout
            deadline = inf if timeout is None else now + timeout
        elif not is_seconds(timeout):
            raise ValidationError(
                "timeout must be a number of seconds above 0 (math.inf for no limit, None for Config.request_timeout); got "
                f"{shown(timeout)}"
            )
        else:
            deadline = now + timeout
        number = 0
        if id is None:
            id = self._make_id()
        else:
            id = check_request_id(id)
            if id in open_cancels:
                raise ValidationError(f"the id {id!r} is in flight: pass another one, or none to have one made")
            if id in self._late:
                raise ValidationError(
                    f"the id {id!r} was used for a cancel whose answer may still come: pass another one, or none to have one "
                    "made"
                )
            number = self._number_in(id)
        self._now = now
        cancel = _OpenCancel(id, order, deadline, now, number)
        open_cancels[id] = self._queue[id] = cancel
        self._deadlines.add(cancel)
        return id

    def send(self, text: str, now: float) -> None:
        """Hand out a frame of your own on the same socket (a subscription, …), after the login and behind the cancels.

        What is answered to it arrives as `Unrecognised`. Nothing tells whether it left; `close` drops what has not.

        Raises: LocalProtocolError when the connection is closing or closed; NoRoom when `Config.max_own_frames` wait;
        ValidationError for what cannot be a text message. In each case nothing has changed.
        """
        now = finite_time(now, self._now)
        if self._state is _DRAINING or self._state is _CLOSED:
            raise LocalProtocolError(f"the connection is {self._state.value} and takes no more frames: use another one")
        check_frame(text)
        limit = self._config.max_own_frames
        if limit is not None and len(self._own) >= limit:
            raise NoRoom(
                f"Config.max_own_frames ({limit}) is reached: wait until a frame of yours has left and try again"
            )
        self._now = now
        self._own.append(text)

    def close(self, now: float) -> None:
        """End the connection in good order. Then drain `poll`.

        What was not handed out is `Unresolved(sent=False)` at once; what was sent has until `Config.drain_timeout` to be
        answered. When nothing is in flight, or at the second call, the connection ends now. After the end: harmless.
        """
        now = finite_time(now, self._now)
        self._now = now
        if self._state is _CLOSED:
            return
        if self._state is _READY:
            for cancel in [cancel for cancel in self._open.values() if cancel.sent_at is None]:
                self._unresolved(cancel, WhyUnresolved.CLOSED)
            self._own.clear()
            if self._open:
                self._move(Step.CLOSING)
                self._alarms[_DRAIN] = after(now, self._config.drain_timeout)
                return
        self._end(WhyClosed.ASKED, "")

    # --- the way out ---

    def poll(self, now: float, writable: bool = True) -> Output:
        """The next thing to do or to know: call it until it gives a `Wait`, after every input and command.

        With `writable=False`, while a write of yours is under way, it gives everything but a `Transmit`.
        """
        # The very number that the call before was told is good.
        if now is not self._now:
            if type(now) is not float or not self._now <= now <= MAX:
                now = finite_time(now, self._now)
            self._now = now
        if self._outputs:
            return self._outputs.popleft()
        paced = inf
        if writable and (self._queue or self._ping_due or self._own or self._login is not None):
            frame = self._next_frame(now)
            if isinstance(frame, Transmit):
                return frame
            paced = frame
        until, alarms = self._deadlines.until, self._alarms
        timer: Timer | None = _REQUEST
        if alarms.until < until or until == inf:
            until, timer = alarms.until, alarms.timer
            if until <= paced:
                if alarms.moved:
                    self._quiet = Wait(None if timer is None else until, timer)
                    alarms.moved = False
                return self._quiet
        if paced < until:
            until, timer = paced, _PACING
        return Wait(until, timer)

    # --- a recorder, before the first call ---

    def _overheard(self, budget: Callable[[Budget], Budget]) -> Codec:
        """Let `budget` stand before the budget, if there is one; gives the codec. Of what is private `record` uses this alone.

        Raises: ValidationError when something was called before, and nothing has changed.
        """
        check_new(self._now)
        if self._budget is not None:
            self._budget = budget(self._budget)
        return self._codec

    # --- frames out ---

    def _next_frame(self, now: float) -> Transmit | float:
        """The next frame that may leave, or when one may; infinity when none waits, or none that waiting would help.

        Login first, then pings, then cancels, then the user's own frames.
        """
        if self._state is not _READY and not self._ping_due and self._login is None:
            return inf  # what waits, waits for the login's answer
        opens = self._pace.opens(now)
        if opens > now:
            return opens
        if self._login is not None:
            text = self._codec.encode_login(self._login)
            self._login, self._login_sent = None, True
            self._pace.take(now)
            return Transmit(text=text, secret=True)
        if self._ping_due:
            self._ping_due, self._pong_owed = False, True
            self._pace.take(now)
            return Transmit(text=PING)
        budget = self._budget
        opens = -inf if budget is None else budget.opens(now)
        queue = self._queue
        while queue:
            if opens > now:
                break
            id, cancel = queue.popitem(last=False)
            if now < cancel.deadline:
                text = self._codec.encode_cancel(cancel.order, id)
                cancel.sent_at = now
                self._pace.take(now)
                if budget is not None:
                    budget.debit(1, now)
                return Transmit(text, id)
            # Expired: no longer to be sent, and `handle_timeout` will say so.
        if self._own:
            self._pace.take(now)
            return Transmit(text=self._own.popleft())
        return opens if queue else inf

    # --- messages in ---

    def _reply(self, id: str, reply: TradeReply | ErrorReply, message: str | bytes) -> None:
        cancel = self._open.get(id)
        if cancel is None:
            order = self._late.pop(id, None)
            if order is None:
                self._unrecognised(message, WhyUnrecognised.UNKNOWN_ID)
                return
            self._outputs.append(
                LateReply(
                    id=id,
                    order=order,
                    code=reply.code,
                    code_class=reply.code_class,
                    message=reply.message,
                    exchange_ts=reply.exchange_ts,
                )
            )
        elif cancel.sent_at is None:
            self._unrecognised(message, WhyUnrecognised.NEVER_SENT)
        else:
            self._answered(cancel, cancel.sent_at, reply)
            if self._state is _DRAINING:
                self._end_if_drained()

    def _answered(self, cancel: _OpenCancel, sent_at: float, reply: TradeReply | ErrorReply) -> None:
        code, code_class = reply.code, reply.code_class
        if code_class is _ACCEPTED:
            # By position: by name it takes twice as long.
            self._settle(
                cancel,
                Accepted(cancel.id, cancel.order, cancel.taken_at, sent_at, self._now, reply.exchange_ts),
            )
        elif code is None or code_class not in REFUSALS:
            self._unresolved(cancel, WhyUnresolved.UNSURE, code, reply.message)
        else:
            self._settle(
                cancel,
                Rejected(
                    id=cancel.id,
                    order=cancel.order,
                    taken_at=cancel.taken_at,
                    sent_at=sent_at,
                    resolved_at=self._now,
                    code=code,
                    code_class=code_class,
                    message=reply.message,
                    exchange_ts=reply.exchange_ts,
                ),
            )

    def _error(self, error: ErrorReply) -> None:
        """An error that names no request."""
        code, code_class = error.code, error.code_class
        if self._state is _AUTHENTICATING and self._login_sent and code_class not in NOT_THE_LOGINS_ANSWER:
            self._login_refused(error)
            return
        if code_class is CodeClass.GOING_AWAY:
            self._outputs.append(GoingAway(message=error.message))
            return
        if code == TOO_MANY_REQUESTS:
            self._pace.pause(self._now)
            if self._budget is not None:
                self._budget.pause(self._now)
        self._outputs.append(ExchangeError(code=code, code_class=code_class, message=error.message))
        if code in ENDS and self._state is not _AUTHENTICATING:
            self._end(ENDS[code], error.message)

    def _login_reply(self, reply: LoginReply, message: str | bytes) -> None:
        if self._state is not _AUTHENTICATING:
            self._unrecognised(message, WhyUnrecognised.UNEXPECTED)
        elif not self._login_sent:
            self._unrecognised(message, WhyUnrecognised.NEVER_SENT)
        elif reply.code is None:
            self._unrecognised(message, WhyUnrecognised.UNEXPECTED)
        elif reply.code_class is _ACCEPTED:
            self._move(Step.LOGGED_IN)
            self._alarms[_LOGIN] = inf
            self._outputs.append(Ready())
        else:
            self._login_refused(reply)

    def _login_refused(self, reply: LoginReply | ErrorReply) -> None:
        self._outputs.append(LoginRejected(code=reply.code, code_class=reply.code_class, message=reply.message))
        self._end(WhyClosed.LOGIN_REFUSED, reply.message)

    def _unrecognised(self, message: str | bytes, why: WhyUnrecognised, malformed: str | None = None) -> None:
        self._outputs.append(Unrecognised(text=as_text(message), why=why, malformed=malformed))

    # --- time ---

    def _fire(self, timer: Timer | None) -> None:
        if timer is _LOGIN:
            self._end(WhyClosed.LOGIN_TIMEOUT, f"no answer to the login within {self._config.login_timeout} s")
        elif timer is _PONG:
            self._end(WhyClosed.NO_PONG, f"no pong within {self._config.pong_timeout} s of a ping")
        elif timer is _DRAIN:
            self._end(WhyClosed.ASKED, f"some answers were still out after {self._config.drain_timeout} s")
        else:
            # A clock so large that adding the interval does not move it must not make this timer due for ever.
            self._alarms[_PING] = max(after(self._now, self._config.ping_interval), nextafter(self._now, inf))
            if not self._ping_due:
                self._ping_due = True
                self._due_pong_at = after(self._now, self._config.pong_timeout)
            # Not only if it is unset: a pong to the ping before must not hide that this one cannot be written.
            self._alarms[_PONG] = min(self._alarms[_PONG], self._due_pong_at)

    # --- outcomes and the end ---

    def _make_id(self) -> str:
        prefix, counter = self._config.id_prefix, self._counter
        while True:
            counter += 1
            id = f"{prefix}{counter}"
            if id not in self._open and id not in self._late:
                self._counter = counter
                return id

    def _number_in(self, id: str) -> int:
        prefix = self._config.id_prefix
        digits = id[len(prefix) :]
        return int(digits) if id.startswith(prefix) and digits.isdigit() and len(digits) <= _COUNTED else 0

    def _unresolved(
        self, cancel: _OpenCancel, why: WhyUnresolved, code: str | None = None, message: str | None = None
    ) -> None:
        sent = cancel.sent_at is not None
        if sent:
            self._late[cancel.id] = cancel.order
            limit = self._config.late_ids
            if limit is not None and len(self._late) > limit:
                self._late.popitem(last=False)
        else:
            self._queue.pop(cancel.id, None)
        self._settle(
            cancel,
            Unresolved(
                id=cancel.id,
                order=cancel.order,
                taken_at=cancel.taken_at,
                sent_at=cancel.sent_at,
                resolved_at=self._now,
                sent=sent,
                why=why,
                code=code,
                message=message,
            ),
        )

    def _settle(self, cancel: _OpenCancel, outcome: Outcome) -> None:
        """The one place where a cancel gets its outcome and is open no longer."""
        cancel.done = True
        # With nothing between these two: a signal's handler may raise wherever it likes.
        del self._open[cancel.id]
        self._outputs.append(outcome)
        # Never make an id that the caller has used: a second answer to that one would be taken for the new one's.
        if cancel.number > self._counter:
            self._counter = cancel.number
        self._deadlines.settled(cancel)

    def _end_if_drained(self) -> None:
        if not self._open:
            self._end(WhyClosed.ASKED, "")

    def _end(self, why: WhyClosed, detail: str) -> None:
        """The end. Its cause's own event is out already; then the outcomes, the hangup, and `Closed`, at once."""
        gone = why is WhyClosed.LOST
        unresolved = WhyUnresolved.LOST if gone or why is WhyClosed.NO_PONG else WhyUnresolved.CLOSED
        for cancel in list(self._open.values()):
            self._unresolved(cancel, unresolved)
        self._login, self._ping_due = None, False
        self._own.clear()
        self._late.clear()
        self._deadlines.clear()
        self._alarms.clear()
        closed = Closed(why=why, detail=detail)
        last: list[Output] = [closed] if gone else [Hangup(code=_NORMAL_CLOSURE, reason=why.value), closed]
        # Last: an end that a signal's handler interrupts can be told again.
        self._move(why)
        self._outputs.extend(last)

    def _move(self, cause: Cause) -> None:
        """The one place where the state changes, by the table."""
        self._state = TRANSITIONS[self._state][cause]


def check_new(latest: float) -> None:
    """Let nothing be recorded from its middle: `latest` is the latest time that a core was told.

    Raises: ValidationError, and nothing has changed.
    """
    if latest > -MAX:
        raise ValidationError("core has a past that would be missing: record it before anything else is called")


def check_frame(text: object) -> None:
    """Let nothing pass that cannot be a text message of the user's own.

    Raises: ValidationError, and nothing has changed.
    """
    if not isinstance(text, str) or not text:
        raise ValidationError(f"text must be a string that is not empty; got {shown(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError(
            "text must be a string that UTF-8 can hold; got one with half of a surrogate pair: take it out"
        ) from None


def unsent_ids(unsent: Iterable[str]) -> tuple[str, ...]:
    """What `lost` was told never left, as ids; a lone string is one id.

    Raises: ValidationError for anything else.
    """
    if isinstance(unsent, str):
        return (unsent,)
    if isinstance(unsent, Iterable):
        ids = tuple(unsent)
        if all(isinstance(id, str) for id in ids):
            return ids
    raise ValidationError(f"unsent must be ids of cancels; got {shown(unsent)}: leave it out when in doubt")
