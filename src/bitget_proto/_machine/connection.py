"""One WebSocket's life, as a pure state machine: no socket, no clock, no thread, no task.

The promise: every cancel that `cancel` took gets exactly one outcome, and the outcome is honest.

Rules of this file
- `poll` is the only way out, and inputs only ever add to what it gives. Looking (`state`, `in_flight`, `capacity`)
  changes nothing.
- An input says what happened and never raises for what the peer did. A command asks for something: when it is refused it
  raises `LocalProtocolError`, and nothing has changed.
- The state changes in `_move`, by the table of `states`. The connection ends in `_end`, in one order.
- A cancel leaves `_queue` and `_sent` in `_settle` and nowhere else; there it gets its one outcome.
- What a timer does happens in `handle_timeout` alone. `poll` compares the paces with `now` and fires nothing.
- Nothing here is random, and nothing depends on how often or how late it is called, beyond the times that it is given.
- A call that changes something sets `_inside` first and clears it last. A call that finds it set follows one through which
  an exception has passed: `_recover` ends the connection. So that nothing is lost there, what is moved is added to its new
  place before it is taken from the old one, and an output is looked at, removed and returned with no call in between.

It does not know reconnecting, sockets, any clock, nor how a frame is spelled.

The way of a cancel: `cancel` puts it into `_queue`. `poll` hands out its frame and moves it to `_sent`: from then on it counts
as sent. An answer, a deadline or the end settles it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from .._values.codes import ENDS, NOT_THE_LOGINS_ANSWER, TOO_MANY_REQUESTS, CodeClass
from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError, NoRoom, ValidationError, check_part, safe_repr
from .._values.events import (
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
from .._values.orders import CancelOrder
from .._values.set_module import set_module
from .._values.states import TRANSITIONS, Cause, State, Step, WhyClosed
from .._values.timers import Timer
from .._wire.codec import DEFAULT, Codec
from .._wire.message_limits import as_text
from .._wire.messages import ErrorReply, LoginReply, Malformed, Pong, TradeReply
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
from .cancel_queue import Rank
from .connection_config import Config
from .deadlines import MAX, Alarms, after, finite_time
from .frame_queue import FrameQueue
from .heartbeat import Heartbeat
from .in_flight import InFlight, OpenCancel
from .rate_limit import Budget
from .request_ids import IN_FLIGHT, RequestIds

NORMAL_CLOSURE = 1000
"""RFC 6455, 7.4.1. The exchange documents no meaning for any other code from a client."""

_SAME_READ = 0.5
"""Seconds after 30004 or 30007 for which what comes still counts: answers may have arrived in the same read."""

# In Python 3.11 looking a member up on its enum takes 0.1 µs, and the way of a cancel has a dozen look-ups: a seventh of it.
_NEW, _AUTHENTICATING, _READY = State.NEW, State.AUTHENTICATING, State.READY
_DRAINING, _CLOSED = State.DRAINING, State.CLOSED
_LOGIN, _PONG, _DRAIN, _PING = Timer.LOGIN, Timer.PONG, Timer.DRAIN, Timer.PING
_REQUEST, _SILENCE, _PACING = Timer.REQUEST, Timer.SILENCE, Timer.PACING
_ACCEPTED = CodeClass.ACCEPTED
_URGENT, _NORMAL = Rank.URGENT, Rank.NORMAL


@set_module("bitget_proto")
class Connection:
    """The client's side of one WebSocket: build one for each socket, drive it, and throw it away when it is `Closed`.

    `config` holds the limits, `codec` the JSON engine (the standard library's by default), `budget` the account's
    allowance of cancels when it is shared (none by default: the pace of the connection then is the only one).

    `now` is a number of seconds on any clock that you choose and that does not run backwards; a `now` that does counts
    as standing still. Every call raises LocalProtocolError for a `now` that is no finite number, and nothing has changed.

    An exception that passes through a call, such as a signal handler's, ends the connection at the next call: what was to come
    out still does, then one honest outcome for each cancel that has none (INTERRUPTED), a hangup, and `Closed`. One that came
    before the call had begun leaves everything as it was: repeat an input that was interrupted.

    It has no lock: call it from one thread, and from others through a queue into that one.

    Raises: ValidationError for a part that is none.
    """

    __slots__ = (
        "_alarms", "_cause", "_closing", "_codec", "_config", "_detail", "_frames", "_heartbeat", "_ids", "_in_flight",
        "_inside", "_now", "_opened", "_outputs", "_state",
    )  # fmt: skip

    def __init__(
        self, config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None
    ) -> None:
        check_part("config", config, Config)
        check_part("codec", codec, Codec)
        check_part("budget", budget, Budget)
        self._config = Config() if config is None else config
        self._codec = DEFAULT if codec is None else codec
        self._state = _NEW
        self._opened = False
        self._now: float = -MAX
        self._inside = False
        """Whether a call is under way, or an exception has passed through one."""
        self._outputs: deque[Output] = deque()

        self._in_flight = InFlight(self._config)
        self._ids = RequestIds(self._config.id_prefix)
        self._alarms = Alarms(_LOGIN, _PONG, _DRAIN, _PING)
        self._heartbeat = Heartbeat(self._config, self._alarms)
        self._frames = FrameQueue(
            self._config, self._codec, budget, self._heartbeat, self._in_flight
        )

        self._closing = False
        """Whether `close` was called: no more is taken, and with nothing left to answer the connection ends."""
        self._cause = WhyClosed.ASKED
        self._detail = ""
        """Why DRAINING ends, and what there is to say about it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.value}, {self.in_flight} in flight>"

    # --- looking changes nothing ---

    @property
    def state(self) -> State:
        """Where the connection is in its life."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many cancels were taken and have no outcome yet, the queued ones included."""
        return len(self._in_flight)

    @property
    def capacity(self) -> int:
        """How many calls of `cancel` would succeed now."""
        if self._closing or self._state is _DRAINING or self._state is _CLOSED:
            return 0
        limit = self._config.max_in_flight
        return sys.maxsize if limit is None else limit - self.in_flight

    @property
    def config(self) -> Config:
        """The limits it was built with."""
        return self._config

    # --- the world happened ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """The WebSocket is open; `login` was signed for about this moment. Drain `poll`: it hands out the login.

        Ignored when the connection has ended before: its `Hangup` has asked you to give up the dial.

        Raises: LocalProtocolError when it was called before, or for what is no `SignedLogin`, and nothing has changed.
        """
        now = self._begin(now)
        self._check_opens(login)
        self._inside, self._now = True, now
        if self._state is _NEW:
            self._opened = True
            self._move(Step.OPENED)
            self._frames.login = login
            self._alarms[_LOGIN] = after(now, self._config.login_timeout)
            self._heartbeat.start(now)
        self._inside = False

    def receive(self, message: str | bytes, now: float) -> None:
        """The WebSocket brought this message, text or bytes, whole. Then drain `poll`.

        Nothing that it says raises, and nothing but an error without id that says so (30004, 30007, or the login's
        refusal) ends the connection. Ignored before `opened` and after the end.

        Raises: LocalProtocolError when it is neither text nor bytes, and nothing has changed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._inside:
            self._recover()
        if type(message) is not str and type(message) is not bytes:
            message = as_message(message)
        self._inside, self._now = True, now
        config = self._config
        frame = self._codec.decode(
            message, max_message=config.max_message, max_depth=config.max_depth
        )
        if self._state is not _NEW and self._state is not _CLOSED:
            self._heartbeat.heard(now)
            if isinstance(frame, (TradeReply, ErrorReply)):
                if frame.id is not None:
                    self._reply(frame.id, frame, message)
                elif frame.names_request:
                    self._unrecognised(message, WhyUnrecognised.NO_SINGLE_ID)
                elif isinstance(frame, ErrorReply):
                    self._error(frame, message)
                else:
                    self._unrecognised(message, WhyUnrecognised.NO_ID)
            elif isinstance(frame, Pong):
                self._heartbeat.pong()
            elif isinstance(frame, LoginReply):
                self._login_reply(frame, message)
            elif isinstance(frame, Malformed):
                self._unrecognised(message, WhyUnrecognised.MALFORMED, frame.reason)
            else:
                self._unrecognised(message, WhyUnrecognised.OTHER)
            if self._closing:
                self._end_if_done()
        self._inside = False

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """The transport has ended, or could not be opened; `reason` is for people. Then drain `poll`.

        `unsent` are the ids of cancels that were handed out and of whose frames provably not one byte left: they become
        `Unresolved(sent=False)`. When in doubt leave an id out. Ignored after the end.

        Raises: LocalProtocolError for what are no ids or no time, and nothing has changed.
        """
        now = self._begin(now)
        ids = unsent_ids(unsent)
        self._inside, self._now = True, now
        if self._state is not _CLOSED:
            self._in_flight.never_left(ids)
            if self._cause is WhyClosed.ASKED:
                self._cause, self._detail = WhyClosed.LOST, reason
            self._end(self._cause, self._detail, gone=True)
        self._inside = False

    def handle_timeout(self, now: float) -> None:
        """Time has passed: fire what is due. Then drain `poll`. Early, late or repeated: harmless.

        Due timers fire by deadline; ties in the order REQUEST, LOGIN, PONG, DRAIN, PING, SILENCE.
        """
        now = self._begin(now)
        self._inside, self._now = True, now
        while True:
            until, timer = self._next_timer()
            if timer is None or until > now:
                break
            self._fire(timer)
        self._inside = False

    # --- you want something ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """Take a cancel; returns the id under which exactly one outcome will come. Then drain `poll`.

        `id` is 1 to 40 of `0-9A-Za-z_:#-+` and the space, and none that is in flight, was left without an answer, or was used
        for a frame of your own; without it one is made from `Config.id_prefix` and a counter. Use an id of your own once: one
        that was answered is taken again, but a second copy of its old answer would then settle the new cancel.

        A cancel waits for `Config.queue_timeout` seconds to be sent, and from then for `Config.answer_timeout` to be answered;
        `timeout` bounds the whole, in seconds from now, infinity for no bound. Before the login is accepted, and when the
        paces are used up, cancels wait in the order they were taken; an `urgent` one waits behind other urgent ones alone.

        Raises: LocalProtocolError when the connection is closing or closed; NoRoom when `Config.max_in_flight` cancels
        have no outcome; ValidationError for an order, id or timeout that makes no sense. In each case nothing has changed.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._inside:
            self._recover()
        self._check_takes(1)
        check_order(order)
        until = inf if timeout is None else now + check_timeout(timeout)
        id = self._ids.make() if id is None else self._ids.check(id, self._why_refused)
        self._inside, self._now = True, now
        self._take(id, order, now, until, _URGENT if urgent else _NORMAL)
        self._inside = False
        return id

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """Take many cancels, all or none; returns their ids in the order of `orders`. Then drain `poll`.

        `timeout` and what is raised are as for `cancel`. NoRoom when there is no room for all of them.
        """
        now = self._begin(now)
        given = check_orders(orders)
        self._check_takes(len(given))
        until = inf if timeout is None else now + check_timeout(timeout)
        self._inside, self._now = True, now
        ids = [self._ids.make() for _ in given]
        for id, order in zip(ids, given, strict=True):
            self._take(id, order, now, until, _NORMAL)
        self._inside = False
        return ids

    def withdraw(self, id: str, now: float) -> bool:
        """Take back a cancel that has not left: it is `Unresolved(sent=False)` with WITHDRAWN. Then drain `poll`.

        False, and nothing has changed, when it has left, or when no cancel of this id is open.
        """
        now = self._begin(now)
        waiting = self._in_flight.queue.get(id) if isinstance(id, str) else None
        self._inside, self._now = True, now
        if waiting is not None:
            self._unresolved(waiting, WhyUnresolved.WITHDRAWN)
            self._end_if_done()
        self._inside = False
        return waiting is not None

    def send(self, text: str, now: float) -> None:
        """Hand out a frame of your own on the same socket, after the login: a subscription, an order to be placed.

        It is answered by events: `Unrecognised`, or `ExchangeError` where the answer names no request. An answer is matched by
        its id alone, so the `id` of a trade request (`op` "trade") must be none that a cancel has, and no cancel takes it
        afterwards: the last 1,024 are remembered. While cancels wait too, own frames get one place in ten. Nothing says whether
        it left; `close` drops what has not.

        Raises: LocalProtocolError when the connection is closing or closed; NoRoom when `Config.max_own_frames` wait;
        ValidationError for what cannot be a text message, or has the id of a cancel. In each case nothing has changed.
        """
        now = self._begin(now)
        if self._closing or self._state is _DRAINING or self._state is _CLOSED:
            raise LocalProtocolError(
                f"the connection {self._how_it_ends()} and takes no more frames: use another one"
            )
        check_frame(text)
        limit = self._config.max_own_frames
        if limit is not None and len(self._frames.own) >= limit:
            raise NoRoom(
                f"Config.max_own_frames ({limit}) is reached: wait until a frame of yours has left and try again"
            )
        self._ids.remember(self._codec.trade_ids(text), self._in_flight.why_taken)
        self._now = now
        self._frames.own.append(text)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """End the connection in good order; no more is taken. Then drain `poll`.

        With `queued="drop"` what was not sent is `Unresolved(sent=False)` at once, and what was sent has `within` seconds to be
        answered (without it `Config.drain_timeout`; infinity for as long as their own deadlines allow). With `queued="send"`
        what is queued leaves first, for at most `within` seconds (without it `Config.queue_timeout`); what has not left by then
        is dropped as above. When nothing is open, or at one more call, the connection ends now. After the end: harmless.

        Raises: ValidationError for another `queued`, or a `within` that is no number of seconds, and nothing has changed.
        """
        now = self._begin(now)
        check_closing(queued, within)
        self._inside, self._now = True, now
        if self._state is not _CLOSED:
            again, self._closing = self._closing, True
            if again:
                self._end(self._cause, self._detail)
            elif queued == "send":
                self._alarms[_DRAIN] = after(
                    now, self._config.queue_timeout if within is None else within
                )
                self._end_if_done()
            else:
                self._drop_queue(self._config.drain_timeout if within is None else within)
        self._inside = False

    # --- the way out ---

    def poll(self, now: float, writable: bool = True) -> Output:
        """The next thing to do or to know: call it until it gives a `Wait`, after every input and command.

        With `writable=False`, while a write of yours is under way, it gives everything but a `Transmit`.
        """
        if now is not self._now:
            if type(now) is not float or not self._now <= now <= MAX:
                now = finite_time(now, self._now)
            self._now = now
        if self._inside:
            self._recover()
        outputs = self._outputs
        if outputs:
            output = outputs[0]
            del outputs[0]
            return output
        paced, frames = inf, self._frames
        if writable and (
            self._in_flight.queue.size
            or frames.own
            or self._heartbeat.ping_due
            or frames.login is not None
        ):
            self._inside = True
            # Cancels that wait when the time that `close` gave them is over are for `handle_timeout`.
            over = self._closing and self._alarms[_DRAIN] <= now
            frame = frames.next(now, ready=self._state is _READY, cancels=not over)
            if isinstance(frame, Transmit):
                if self._closing:
                    self._end_if_done()
                self._inside = False
                return frame
            self._inside = False
            paced = frame
        until, timer = self._next_timer()
        if paced < until:
            return Wait(paced, _PACING)
        return Wait(None if timer is None else until, timer)

    # --- a recorder, before the first call ---

    def _overheard(self, budget: Callable[[Budget], Budget]) -> Codec:
        """Let `budget` stand before the budget, if there is one; gives the codec. Of what is private `record` uses this alone.

        Raises: ValidationError when something was called before, and nothing has changed.
        """
        check_new(self._now)
        if self._frames.budget is not None:
            self._frames.budget = budget(self._frames.budget)
        return self._codec

    # --- a session, which holds the queue itself ---

    def _opens(self, now: float) -> float:
        """When a cancel can leave by `_send`; infinity when none can, or when other frames go first."""
        return self._frames.opens(now) if self._state is _READY else inf

    def _send(self, id: str, order: CancelOrder, taken_at: float, until: float, now: float) -> str:
        """Hand out a cancel that has waited elsewhere, once `_opens` allows it: its frame. `until` ends all its time."""
        self._now = now
        cancel = self._in_flight.make(id, order, taken_at, until, _NORMAL)
        return self._frames.hand_out(cancel, now)

    def _drain_within(self, now: float, seconds: float | None) -> None:
        """A connection that is DRAINING has no longer than this."""
        self._alarms[_DRAIN] = min(self._alarms[_DRAIN], after(now, seconds))

    # --- messages in ---

    def _reply(self, id: str, reply: TradeReply | ErrorReply, message: str | bytes) -> None:
        cancel = self._in_flight.sent.get(id)
        if reply.answers_other:
            self._unrecognised(message, WhyUnrecognised.OTHER_REQUEST)
        elif cancel is not None:
            self._settle(cancel, cancel.answered(reply, self._now))
        else:
            event = self._in_flight.unmatched(id, reply, message)
            self._outputs.append(event)
            if isinstance(event, LateReply):
                del self._in_flight.late[id]

    def _error(self, error: ErrorReply, message: str | bytes) -> None:
        """An error that names no request."""
        code, code_class = error.code, error.code_class
        if (
            self._state is _AUTHENTICATING
            and self._frames.login_sent
            and not error.answers_other
            and code_class not in NOT_THE_LOGINS_ANSWER
        ):
            self._login_refused(error, message)
            return
        text = as_text(message)
        if code_class is CodeClass.GOING_AWAY:
            self._outputs.append(GoingAway(message=error.message, text=text))
            return
        if code == TOO_MANY_REQUESTS:
            self._frames.pause(self._now)
        self._outputs.append(
            ExchangeError(code=code, code_class=code_class, message=error.message, text=text)
        )
        if code in ENDS and self._state is not _AUTHENTICATING and self._cause is WhyClosed.ASKED:
            # Nothing more can be sent. What has been answered before may be in the same read.
            self._cause, self._detail = ENDS[code], error.message
            self._closing = True
            self._heartbeat.stop()
            if self._state is _READY:
                self._drop_queue(_SAME_READ)
            else:
                self._drain_within(self._now, _SAME_READ)

    def _login_reply(self, reply: LoginReply, message: str | bytes) -> None:
        if self._state is not _AUTHENTICATING:
            self._unrecognised(message, WhyUnrecognised.UNEXPECTED)
        elif not self._frames.login_sent:
            self._unrecognised(message, WhyUnrecognised.NEVER_SENT)
        elif reply.code is None:
            self._unrecognised(message, WhyUnrecognised.UNEXPECTED)
        elif reply.code_class is _ACCEPTED:
            self._move(Step.LOGGED_IN)
            self._alarms[_LOGIN] = inf
            self._outputs.append(Ready())
        else:
            self._login_refused(reply, message)

    def _login_refused(self, reply: LoginReply | ErrorReply, message: str | bytes) -> None:
        self._outputs.append(
            LoginRejected(
                code=reply.code,
                code_class=reply.code_class,
                message=reply.message,
                text=as_text(message),
            )
        )
        self._end(WhyClosed.LOGIN_REFUSED, reply.message)

    def _unrecognised(
        self, message: str | bytes, why: WhyUnrecognised, malformed: str | None = None
    ) -> None:
        self._outputs.append(Unrecognised(text=as_text(message), why=why, malformed=malformed))

    # --- time ---

    def _next_timer(self) -> tuple[float, Timer | None]:
        """What is due first, and when."""
        until, heartbeat, alarms = self._in_flight.due(), self._heartbeat, self._alarms
        silent = inf if heartbeat.asked_until is None else heartbeat.asked_until
        for oldest in self._in_flight.sent.values():
            silent = heartbeat.silence_at(oldest.sent_at)
            break
        timer = None if until == inf else _REQUEST
        if alarms.until < until:
            until, timer = alarms.until, alarms.timer
        if silent < until:
            return silent, _SILENCE
        return until, timer

    def _fire(self, timer: Timer) -> None:
        config = self._config
        if timer is _REQUEST:
            self._unresolved(self._in_flight.first_due(), WhyUnresolved.TIMEOUT)
            self._end_if_done()
        elif timer is _LOGIN:
            self._end(
                WhyClosed.LOGIN_TIMEOUT, f"no answer to the login within {config.login_timeout} s"
            )
        elif timer is _PONG:
            self._end(WhyClosed.NO_PONG, f"no pong within {config.pong_timeout} s of a ping")
        elif timer is _PING:
            self._heartbeat.beat(self._now)
        elif timer is _SILENCE:
            if self._heartbeat.ask(self._frames.question_opens(self._now)):
                self._end(
                    WhyClosed.NO_PONG,
                    f"answers were due, and nothing came within {config.silence_pong} s of being asked",
                )
        elif self._state is not _DRAINING:
            self._drop_queue(config.drain_timeout)
        elif self._cause is WhyClosed.ASKED:
            self._end(
                WhyClosed.ASKED, "answers were still due when the time to wait for them was over"
            )
        else:
            self._end(self._cause, self._detail)

    # --- outcomes and the end ---

    def _take(self, id: str, order: CancelOrder, now: float, until: float, rank: Rank) -> None:
        """Let a cancel wait to be sent; `until` is the end of all its time."""
        self._in_flight.wait(self._in_flight.make(id, order, now, until, rank), now)

    def _why_refused(self, id: str) -> str | None:
        return IN_FLIGHT if id in settled(self._outputs) else self._in_flight.why_taken(id)

    def _check_opens(self, login: object) -> None:
        """Let `opened` pass once, and with a login.

        Raises: LocalProtocolError, and nothing has changed.
        """
        if self._opened:
            raise LocalProtocolError(
                "opened was called before: a Connection is for one WebSocket, so make another one"
            )
        if not isinstance(login, SignedLogin):
            raise ValidationError(
                f"login must be a SignedLogin; got {safe_repr(login)}: pass sign_login(credentials, int(time.time()))"
            )

    def _check_takes(self, count: int) -> None:
        """Let no command pass for so many cancels unless they can be taken.

        Raises: LocalProtocolError or NoRoom, and nothing has changed.
        """
        state = self._state
        if self._closing or state is _DRAINING or state is _CLOSED:
            raise LocalProtocolError(
                f"the connection {self._how_it_ends()} and takes no more cancels: use another one"
            )
        limit = self._config.max_in_flight
        if limit is not None and len(self._in_flight) + count > limit:
            raise no_room(limit, self.in_flight, count)

    def _how_it_ends(self) -> str:
        return "is closed" if self._state is _CLOSED else "is closing"

    def _unresolved(self, cancel: OpenCancel, why: WhyUnresolved) -> None:
        self._settle(cancel, cancel.unresolved(why, self._now))

    def _settle(self, cancel: OpenCancel, outcome: Outcome) -> None:
        """The one place where a cancel gets its outcome and is open no longer."""
        self._outputs.append(outcome)
        self._in_flight.settle(cancel, outcome)

    def _drop_queue(self, seconds: float | None) -> None:
        """Send nothing more. What was sent has so many seconds to be answered; with nothing to wait for this is the end."""
        if self._state is not _READY:
            self._end(WhyClosed.ASKED, "")
            return
        for cancel in [cancel for cancel in self._in_flight.in_order() if cancel.sent_at == inf]:
            self._unresolved(cancel, WhyUnresolved.CLOSED)
        self._frames.own.clear()
        self._move(Step.CLOSING)
        self._alarms[_DRAIN] = after(self._now, seconds)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """The end, when `close` was called and nothing is left to send or to be answered."""
        left = len(self._in_flight) or self._frames.own
        if (
            self._closing
            and not left
            and self._cause is WhyClosed.ASKED
            and self._state is not _CLOSED
        ):
            self._end(WhyClosed.ASKED, "")

    def _end(self, why: WhyClosed, detail: str, *, gone: bool = False) -> None:
        """The end, unless the transport is `gone` with a hangup. The event of its cause is out already; then the outcomes, the
        hangup, and `Closed`, at once.
        """
        dead = why is WhyClosed.NO_PONG
        unresolved = WhyUnresolved.LOST if dead or why is WhyClosed.LOST else WhyUnresolved.CLOSED
        for cancel in self._in_flight.in_order():
            self._unresolved(cancel, unresolved)
        self._finish(
            why, detail, [] if gone else [Hangup(code=NORMAL_CLOSURE, reason=why.value, abort=dead)]
        )

    def _finish(self, why: WhyClosed, detail: str, hangup: list[Output]) -> None:
        self._outputs.extend([*hangup, Closed(why=why, detail=detail)])
        self._frames.clear()
        self._in_flight.clear()
        self._alarms.clear()
        self._heartbeat.stop()
        # Last: an end that is interrupted has not been.
        self._move(why)

    def _recover(self) -> None:
        """An exception has passed through a call, and how far it came is not known. What was to come out still does, then one
        honest outcome for each cancel that has none, then the end. When this is interrupted too, the next call does it again.
        """
        if self._state is not _CLOSED:
            kept = [output for output in self._outputs if not isinstance(output, (Hangup, Closed))]
            done = settled(kept)
            kept.extend(
                cancel.unresolved(WhyUnresolved.INTERRUPTED, self._now)
                for cancel in self._in_flight.in_order()
                if cancel.id not in done
            )
            self._outputs = deque(kept)
            self._finish(
                WhyClosed.INTERRUPTED,
                "",
                [Hangup(code=NORMAL_CLOSURE, reason=WhyClosed.INTERRUPTED.value, abort=True)],
            )
        self._inside = False

    def _move(self, cause: Cause) -> None:
        """The one place where the state changes, by the table."""
        self._state = TRANSITIONS[self._state][cause]

    def _begin(self, now: float) -> float:
        """The time of a call, checked. A call before it that was interrupted has ended the connection.

        Raises: LocalProtocolError when it is no finite number, and nothing has changed.
        """
        now = finite_time(now, self._now)
        if self._inside:
            self._recover()
        return now


def settled(outputs: Iterable[object]) -> set[str]:
    """The ids of the cancels whose outcomes are among these."""
    return {output.id for output in outputs if isinstance(output, Accepted | Rejected | Unresolved)}
