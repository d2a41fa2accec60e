"""The state machine of one WebSocket connection. It does no I/O and reads no clock.

`cancel` puts a cancel into the queue. `poll` returns its frame, and from then on it counts as sent.
A reply, a deadline or the end of the connection settles it. Every cancel that was taken gets
exactly one outcome, which states only what is known.

`InFlight` holds the cancels without an outcome, `Outcomes` gives each of them its outcome,
`FrameQueue` decides which frame is sent next and when, and `Heartbeat` decides when a ping is due.
`message_events` has the events for messages that concern no cancel.

Rules for changes
- Only `poll` returns outputs; every other call adds to `_outputs`. Properties change nothing.
- An input (`opened`, `receive`, `lost`, `handle_timeout`) never raises because of what the peer
  did. A command that is refused raises `LocalProtocolError` before anything has changed.
- The state changes in `_move` only, which looks the new state up in `TRANSITIONS`.
- A cancel gets its outcome in `Outcomes` only.
- Timers fire in `handle_timeout` only. `poll` compares the rate limits with `now`.
- Nothing is random. The same calls at the same times give the same outputs. Additional calls of
  `poll` or `handle_timeout` do not change them.
- A call that makes several changes sets `_in_call` before the first change and clears it after the
  last. If a call finds `_in_call` already set, an exception interrupted the previous call, so
  `_recover` ends the connection. Because an exception can interrupt any line, always add an object
  to its new container before removing it from the old one. In `poll`, call nothing between removing
  an output and returning it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Literal

from .._values.codes import FATAL_ERRORS, TOO_MANY_REQUESTS
from .._values.credentials import SignedLogin
from .._values.errors import check_part
from .._values.events import (
    Closed,
    Hangup,
    LoginRejected,
    Output,
    Ready,
    Transmit,
    Wait,
    WhyUnresolved,
)
from .._values.orders import CancelOrder, InstType
from .._values.set_module import set_module
from .._values.states import TRANSITIONS, Cause, State, Step, WhyClosed
from .._values.timers import Timer
from .._wire.codec import DEFAULT, Codec
from .._wire.messages import ErrorReply, LoginReply, Pong, SubscribeReply, TradeReply
from .arguments import (
    Queued,
    as_message,
    check_closing,
    check_frame,
    check_login,
    check_new,
    check_order,
    check_orders,
    check_own_frames,
    check_timeout,
    takes_no_more,
    unsent_ids,
)
from .cancel_queue import Rank
from .connection_config import Config
from .deadlines import MAX, Alarms, after, finite_time
from .frame_queue import FrameQueue
from .heartbeat import Heartbeat
from .in_flight import InFlight, OpenCancel
from .message_events import error_event, events_of, login_event, login_rejected, may_refuse_login
from .outcomes import Outcomes
from .rate_limit import Budget
from .request_ids import RequestIds

NORMAL_CLOSURE = 1000
"""RFC 6455, 7.4.1. The exchange documents no meaning for any other code from a client."""

_LATE_ANSWER_SECONDS = 0.5
"""Seconds after 30004 or 30007 in which answers still count: they may come from the same read."""

# In Python 3.11, looking up an enum member takes 0.1 µs. A cancel needs a dozen of these look-ups:
# they would take a seventh of its time.
_NEW, _AUTHENTICATING, _READY = State.NEW, State.AUTHENTICATING, State.READY
_DRAINING, _CLOSED = State.DRAINING, State.CLOSED
_LOGIN, _PONG, _DRAIN, _PING = Timer.LOGIN, Timer.PONG, Timer.DRAIN, Timer.PING
_REQUEST, _SILENCE, _PACING = Timer.REQUEST, Timer.SILENCE, Timer.PACING
_URGENT, _NORMAL = Rank.URGENT, Rank.NORMAL


@set_module("bitget_proto")
class Connection:
    """The client side of one WebSocket connection.

    Create one for each WebSocket and discard it after `Closed`. Call an input (`opened`, `receive`,
    `lost`, `handle_timeout`) when something has happened and a command (such as `cancel`) when you
    want something. After each call, drain `poll`: call it until it returns a `Wait`.

    `config` holds the limits. `codec` has the JSON engine and the dialect; the default is the
    standard library's engine and the classic dialect. `budget` limits the cancels of an account and
    may be shared with other connections; by default only the limits of this connection apply.

    `now` is the time in seconds on a clock of your choice that does not run backwards. A time
    earlier than the last one counts as the last one. Every call raises LocalProtocolError if `now`
    is not a finite number.

    A call that raises LocalProtocolError, or its subclass ValidationError or NoRoom, leaves the
    state unchanged.

    If an exception, such as one raised by a signal handler, interrupts a call that has begun to
    change the state, the next call ends the connection: `poll` returns the remaining outputs, then
    an outcome for each cancel that has none (INTERRUPTED), a `Hangup` and `Closed`. If the
    exception comes before the first change, nothing has changed. You cannot tell the two cases
    apart, so repeat an interrupted input: either it is handled normally, or it ends the connection.

    A connection is not thread-safe: call it from one thread, and pass work from other threads
    through a queue.

    Raises: ValidationError if an argument is not of its type.
    """

    __slots__ = (
        "_alarms",
        "_cause",
        "_closing",
        "_codec",
        "_config",
        "_detail",
        "_frames",
        "_heartbeat",
        "_ids",
        "_in_call",
        "_in_flight",
        "_now",
        "_opened",
        "_outcomes",
        "_outputs",
        "_state",
    )  # fmt: skip

    def __init__(
        self, config: Config | None = None, codec: Codec | None = None, budget: Budget | None = None
    ) -> None:
        check_part("config", config, Config)
        check_part("codec", codec, Codec)
        check_part("budget", budget, Budget)
        self._config = config = Config() if config is None else config
        self._codec = DEFAULT if codec is None else codec
        self._state = _NEW
        self._opened = False
        self._now: float = -MAX
        self._in_call = False
        """Whether a call is in progress, or was interrupted by an exception."""
        self._outputs: deque[Output] = deque()

        self._in_flight = InFlight(config)
        self._ids = RequestIds(config.id_prefix)
        self._alarms = Alarms(_LOGIN, _PONG, _DRAIN, _PING)
        self._heartbeat = Heartbeat(config, self._alarms)
        self._frames = FrameQueue(config, self._codec, budget, self._heartbeat, self._in_flight)
        self._outcomes = Outcomes(self._in_flight, self._frames, self._outputs)

        self._closing = False
        """Whether the connection takes nothing more, and ends once no cancel or frame is left."""
        self._cause, self._detail = WhyClosed.ASKED, ""
        """The reason and the detail of `Closed` when DRAINING ends."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.value}, {self.in_flight} in flight>"

    # --- properties ---

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._state

    @property
    def in_flight(self) -> int:
        """The number of cancels without an outcome, queued or sent."""
        return len(self._in_flight)

    @property
    def capacity(self) -> int:
        """The number of cancels that you can submit now."""
        if self._closing or self._state is _DRAINING or self._state is _CLOSED:
            return 0
        return self._in_flight.room

    @property
    def waiting_for_grant(self) -> int:
        """The number of cancels that could be sent if the budget allowed more, as of the last call.

        Pass it to `Lease.wanted` after each drain, so that the lease asks for a larger grant.
        """
        if self._state is not _READY or self._in_call:
            return 0
        return self._frames.waiting_for_grant(self._now, self._in_flight.queue.size)

    @property
    def config(self) -> Config:
        """The limits of the connection."""
        return self._config

    @property
    def codec(self) -> Codec:
        """The codec, which has the dialect of the account."""
        return self._codec

    # --- inputs: what has happened ---

    def opened(self, now: float, *, login: SignedLogin) -> None:
        """Handle the opening of the WebSocket. Then drain `poll`, which returns the login.

        `login` must have been signed just before. The call is ignored if the connection has already
        ended: its `Hangup` asked you to abort the dial.

        Raises: LocalProtocolError if it was called before; ValidationError if `login` is not a
        `SignedLogin`.
        """
        now = self._begin(now)
        check_login(login, opened=self._opened)
        self._in_call, self._now = True, now
        if self._state is _NEW:
            self._opened = True
            self._move(Step.OPENED)
            self._frames.login = login
            self._alarms[_LOGIN] = after(now, self._config.login_timeout)
            self._heartbeat.start(now)
        self._in_call = False

    def receive(self, message: str | bytes, now: float) -> None:
        """Handle one whole WebSocket message, text or bytes. Then drain `poll`.

        No message raises, whatever it contains. The only messages that end the connection are the
        refusal of the login, an error 30004 or 30007 that names no request, and the last answer
        after `close`. Messages before `opened` and after the end are ignored.

        Raises: ValidationError if the message is neither text nor bytes.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        if type(message) is not str and type(message) is not bytes:
            message = as_message(message)
        self._in_call, self._now = True, now
        config = self._config
        frame = self._codec.decode(
            message, max_message=config.max_message, max_depth=config.max_depth
        )
        if self._state is not _NEW and self._state is not _CLOSED:
            self._heartbeat.heard(now)
            if isinstance(frame, (TradeReply, ErrorReply)) and frame.id is not None:
                self._outcomes.reply(frame.id, frame, message, now)
            elif isinstance(frame, Pong):
                self._heartbeat.pong()
            elif isinstance(frame, LoginReply):
                sent, awaited = self._frames.login_sent, self._state is _AUTHENTICATING
                self._login_answered(login_event(frame, message, sent=sent, awaited=awaited))
            elif (isinstance(frame, ErrorReply) and not frame.names_request) or (
                isinstance(frame, SubscribeReply) and not frame.accepted
            ):
                self._error(frame, message)
            else:
                self._outputs.extend(events_of(frame, message))
            if self._closing:
                self._end_if_done()
        self._in_call = False

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        """Handle the end of the transport, or a failed dial. Then drain `poll`.

        `reason` is text for people. `unsent` has the ids of cancels whose frames `poll` returned,
        if you are certain that not one byte of the frame was sent: these cancels end
        `Unresolved(sent=False)`. Leave out an id if you are not sure. The call is ignored once the
        connection has ended.

        Raises: ValidationError if `unsent` is not an iterable of strings.
        """
        now = self._begin(now)
        ids = unsent_ids(unsent)
        self._in_call, self._now = True, now
        if self._state is not _CLOSED:
            self._in_flight.mark_unsent(ids)
            if self._cause is WhyClosed.ASKED:
                self._cause, self._detail = WhyClosed.LOST, reason
            self._end(self._cause, self._detail, gone=True)
        self._in_call = False

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due. Then drain `poll`.

        It may be called early, late or repeatedly. Timers fire in the order of their deadlines.
        Timers with equal deadlines fire in the order REQUEST, LOGIN, PONG, DRAIN, PING, SILENCE.
        """
        now = self._begin(now)
        self._in_call, self._now = True, now
        while True:
            until, timer = self._next_timer()
            if timer is None or until > now:
                break
            self._fire(timer)
        self._in_call = False

    # --- commands ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        """Take a cancel and return its id; exactly one outcome follows. Then drain `poll`.

        `id` has 1 to 40 of the characters `0-9A-Za-z_:#-+` and space. It must not be the id of a
        cancel that is in flight, of a cancel whose answer may still come, or of a frame of your
        own. By default, the id is made from `Config.id_prefix` and a counter. Do not use your own
        id twice: the id of an answered cancel is accepted, but a duplicate of the old answer would
        then settle the new cancel.

        A cancel may wait `Config.queue_timeout` seconds to be sent, and then
        `Config.answer_timeout` seconds for its answer. `timeout` limits the two together, in
        seconds from now; infinity means no limit. Until the login is accepted, and while a rate
        limit is reached, cancels wait in the order in which they were taken. An `urgent` cancel
        waits only behind other urgent cancels.

        Raises: LocalProtocolError if the connection is closing or closed; NoRoom if
        `Config.max_in_flight` cancels have no outcome; ValidationError for an invalid order, id or
        timeout.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        self._check_open("cancels")
        self._in_flight.check_room(1)
        check_order(order, self._codec)
        until = inf if timeout is None else now + check_timeout(timeout)
        id = self._ids.make() if id is None else self._ids.check(id, self._outcomes.id_conflict)
        self._in_call, self._now = True, now
        self._in_flight.enqueue(id, order, now, until, _URGENT if urgent else _NORMAL)
        self._in_call = False
        return id

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        """Take all of these cancels, or none, and return their ids in order. Then drain `poll`.

        `timeout` applies to each, as in `cancel`.

        Raises: the same as `cancel`; NoRoom if there is no room for all of them.
        """
        now = self._begin(now)
        given = check_orders(orders, self._codec)
        self._check_open("cancels")
        self._in_flight.check_room(len(given))
        until = inf if timeout is None else now + check_timeout(timeout)
        self._in_call, self._now = True, now
        ids = [self._ids.make() for _ in given]
        for id, order in zip(ids, given, strict=True):
            self._in_flight.enqueue(id, order, now, until, _NORMAL)
        self._in_call = False
        return ids

    def withdraw(self, id: str, now: float) -> bool:
        """Withdraw a queued cancel, which ends `Unresolved(sent=False)`. Then drain `poll`.

        The reason in the outcome is WITHDRAWN. Return False, and change nothing, if the cancel was
        already sent or no cancel with this id is open.
        """
        now = self._begin(now)
        waiting = self._in_flight.queue.get(id) if isinstance(id, str) else None
        self._in_call, self._now = True, now
        if waiting is not None:
            self._outcomes.settle_all([waiting], WhyUnresolved.WITHDRAWN, now)
            self._end_if_done()
        self._in_call = False
        return waiting is not None

    def send(self, text: str, now: float) -> None:
        """Queue a frame of your own, such as a subscription or a new order. Then drain `poll`.

        It is sent after the login. An answer is an event: `Subscribed` or `SubscribeRefused` for a
        subscription to orders, `ExchangeError` if it is an error without an id, and otherwise
        `Unrecognised`. Answers are matched by id alone. So the `id` of a trade request
        (`op` "trade") must not be the id of a cancel, and no later cancel may use it: the last
        1,024 ids are remembered. While both cancels and your frames are queued, every tenth frame
        is one of yours. No event reports that a frame was sent. `close` drops unsent frames, unless
        you pass `queued="send"`.

        Raises: LocalProtocolError if the connection is closing or closed; NoRoom if
        `Config.max_own_frames` frames wait; ValidationError if `text` cannot be a text message or
        has the id of a cancel.
        """
        now = self._begin(now)
        self._check_open("frames")
        check_frame(text)
        check_own_frames(len(self._frames.own), self._config.max_own_frames)
        self._ids.remember(self._codec.trade_ids(text), self._in_flight.id_conflict)
        self._now = now
        self._frames.own.append(text)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Subscribe to changes of your orders, which are `OrderUpdate` events. Then drain `poll`.

        `inst_types` are the product lines, by default all. Unified accounts have one subscription
        for all product lines, so `inst_types` has no effect there. The frame is sent after the
        login, ahead of all queued cancels. The exchange answers for each product line: `Subscribed`
        or `SubscribeRefused`. A new connection needs a new subscription. The exchange allows "240
        subscriptions an hour" on a connection; this class does not count them.

        Raises: LocalProtocolError if the connection is closing or closed; ValidationError for
        anything but product lines of the account.
        """
        now = self._begin(now)
        self._check_open("frames")
        text = self._codec.encode_subscribe(inst_types)
        self._now = now
        self._frames.subscribe(text)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Close the connection; nothing more is taken. Then drain `poll`.

        With `queued="drop"`, cancels that were not sent end `Unresolved(sent=False)` at once. Those
        that were sent have `within` seconds to be answered: by default `Config.drain_timeout`;
        infinity means that only their own deadlines apply.

        With `queued="send"`, queued cancels and frames are sent first, for at most `within` seconds
        (by default `Config.queue_timeout`). What was not sent by then is dropped as above.

        The connection ends at once if nothing is left to send or to be answered, or if it was
        already closing, for example at a second `close`. After the end, the call does nothing.

        Raises: ValidationError for another value of `queued`, or a `within` that is not a number of
        seconds above 0.
        """
        now = self._begin(now)
        check_closing(queued, within)
        self._in_call, self._now = True, now
        if self._state is not _CLOSED:
            again, self._closing = self._closing, True
            if again:
                self._end(self._cause, self._detail)
            elif queued == "send":
                seconds = self._config.queue_timeout if within is None else within
                self._alarms[_DRAIN] = after(now, seconds)
                self._end_if_done()
            else:
                self._start_draining(self._config.drain_timeout if within is None else within)
        self._in_call = False

    # --- outputs ---

    def poll(self, now: float, writable: bool = True) -> Output:
        """Return the next output: a frame to write, an event, a `Hangup` or a `Wait`.

        Call it after every input and command, until it returns a `Wait`. Pass `writable=False`
        while a write is in progress: `poll` then returns no `Transmit`.
        """
        if now is not self._now:
            if type(now) is not float or not self._now <= now <= MAX:
                now = finite_time(now, self._now)
            self._now = now
        if self._in_call:
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
            or self._heartbeat.ping_pending
            or frames.login is not None
            or frames.subscriptions
        ):
            self._in_call = True
            # After the deadline that `close(queued="send")` set, no cancel and no frame of the
            # caller is sent: `handle_timeout` drops them.
            over = self._closing and self._alarms[_DRAIN] <= now
            frame = frames.next(now, self._ids, ready=self._state is _READY, cancels=not over)
            if isinstance(frame, Transmit):
                if self._closing:
                    self._end_if_done()
                self._in_call = False
                return frame
            self._in_call = False
            paced = frame
        until, timer = self._next_timer()
        if paced < until:
            return Wait(paced, _PACING)
        return Wait(None if timer is None else until, timer)

    # --- for `record` ---

    def _attach_recorder(self, budget: Callable[[Budget], Budget]) -> Codec:
        """Wrap the budget, if there is one, and return the codec.

        This is the only private attribute that `record` uses.

        Raises: ValidationError if the connection was used before.
        """
        check_new(self._now)
        if self._frames.budget is not None:
            self._frames.budget = budget(self._frames.budget)
        return self._codec

    # --- for `Session`, which has its own queue ---

    def _cancel_allowed_at(self, now: float, waiting: int) -> float:
        """Return the earliest time at which one of the session's `waiting` cancels may be sent.

        Infinity means that no amount of time will allow it: the connection is not ready, or other
        frames go first.
        """
        return self._frames.allowed_at(now, waiting) if self._state is _READY else inf

    def _hand_out(self, cancels: list[OpenCancel], now: float) -> Transmit:
        """Mark cancels from the session's queue as sent, and return their frame.

        Call it only when `_cancel_allowed_at(now)` is not after `now`.
        """
        self._now = now
        return self._frames.hand_out(cancels, self._ids, now)

    def _drain_within(self, now: float, seconds: float | None) -> None:
        """Limit the time that is left to a DRAINING connection."""
        self._alarms[_DRAIN] = min(self._alarms[_DRAIN], after(now, seconds))

    # --- received messages ---

    def _error(self, error: ErrorReply | SubscribeReply, message: str | bytes) -> None:
        """Handle an error without a request id, or a refused subscription."""
        code, state = error.code, self._state
        awaits_login = state is _AUTHENTICATING and self._frames.login_sent
        if awaits_login and isinstance(error, ErrorReply) and may_refuse_login(error):
            self._login_answered(login_rejected(error, message))
            return
        self._outputs.append(error_event(error, message))
        if code == TOO_MANY_REQUESTS:
            self._frames.pause(self._now)
        if code in FATAL_ERRORS and state is not _AUTHENTICATING and self._cause is WhyClosed.ASKED:
            # Nothing more can be sent, but answers may follow in the same read.
            self._cause, self._detail = FATAL_ERRORS[code], error.message
            self._closing = True
            self._heartbeat.stop()
            if state is _READY:
                self._start_draining(_LATE_ANSWER_SECONDS)
            else:
                self._drain_within(self._now, _LATE_ANSWER_SECONDS)

    def _login_answered(self, event: Output) -> None:
        self._outputs.append(event)
        if isinstance(event, Ready):
            self._alarms[_LOGIN] = inf
            self._move(Step.LOGGED_IN)
        elif isinstance(event, LoginRejected):
            self._end(WhyClosed.LOGIN_REFUSED, event.message)

    # --- timers ---

    def _next_timer(self) -> tuple[float, Timer | None]:
        """Return the time of the next timer, and the timer."""
        until, heartbeat, alarms = self._in_flight.next_deadline(), self._heartbeat, self._alarms
        silent = inf if heartbeat.probe_deadline is None else heartbeat.probe_deadline
        for oldest in self._in_flight.sent.values():
            silent = heartbeat.silence_due_at(oldest.sent_at)
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
            self._outcomes.time_out(self._in_flight.first_to_expire(), self._now)
            self._end_if_done()
        elif timer is _LOGIN:
            detail = f"no answer to the login within {config.login_timeout} s"
            self._end(WhyClosed.LOGIN_TIMEOUT, detail)
        elif timer is _PONG:
            self._end(WhyClosed.NO_PONG, f"no pong within {config.pong_timeout} s of a ping")
        elif timer is _PING:
            self._heartbeat.beat(self._now)
        elif timer is _SILENCE:
            if (dead := self._heartbeat.probe(self._frames.ping_allowed_at(self._now))) is not None:
                self._end(WhyClosed.NO_PONG, dead)
        elif self._state is not _DRAINING:
            self._start_draining(config.drain_timeout)
        else:
            late = "answers were still due when the drain timeout expired"
            self._end(self._cause, late if self._cause is WhyClosed.ASKED else self._detail)

    # --- outcomes and the end ---

    def _check_open(self, what: Literal["cancels", "frames"]) -> None:
        """Raise LocalProtocolError if the connection is closing or closed."""
        if self._closing or self._state is _DRAINING or self._state is _CLOSED:
            state = "closed" if self._state is _CLOSED else "closing"
            raise takes_no_more(f"the connection is {state}", what)

    def _start_draining(self, seconds: float | None) -> None:
        """Drop what was not sent, and wait `seconds` for answers to what was sent.

        The connection ends at once if there is nothing to wait for.
        """
        if self._state is not _READY:
            self._end(WhyClosed.ASKED, "")
            return
        unsent = [cancel for cancel in self._in_flight.in_order() if cancel.sent_at == inf]
        self._outcomes.settle_all(unsent, WhyUnresolved.CLOSED, self._now)
        self._frames.drop()
        self._move(Step.CLOSING)
        self._alarms[_DRAIN] = after(self._now, seconds)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """End a closing connection if nothing is left to send or to be answered."""
        left = len(self._in_flight) or self._frames.own or self._state is _CLOSED
        if self._closing and not left and self._cause is WhyClosed.ASKED:
            self._end(WhyClosed.ASKED, "")

    def _end(self, why: WhyClosed, detail: str, *, gone: bool = False) -> None:
        """End the connection: report the outcomes, then the `Hangup`, then `Closed`.

        There is no `Hangup` if the transport is `gone`. If an event caused the end, it is already
        in the outputs.
        """
        lost = why is WhyClosed.NO_PONG or why is WhyClosed.LOST
        unresolved = WhyUnresolved.LOST if lost else WhyUnresolved.CLOSED
        self._outcomes.settle_all(self._in_flight.in_order(), unresolved, self._now)
        self._finish(why, detail, gone=gone)

    def _finish(self, why: WhyClosed, detail: str, *, gone: bool = False) -> None:
        if not gone:
            abort = why is WhyClosed.NO_PONG or why is WhyClosed.INTERRUPTED
            self._outputs.append(Hangup(code=NORMAL_CLOSURE, reason=why.value, abort=abort))
        self._outputs.append(Closed(why=why, detail=detail))
        self._frames.clear()
        self._in_flight.clear()
        self._alarms.clear()
        self._heartbeat.stop()
        # Last, so that `_recover` repeats an end that was interrupted.
        self._move(why)

    def _recover(self) -> None:
        """End the connection after a call that was interrupted at an unknown point.

        Keep the outputs, add an outcome for each cancel that has none, and end. If this is
        interrupted too, the next call repeats it.
        """
        if self._state is not _CLOSED:
            self._outcomes.settle_interrupted(self._now)
            # `_finish` adds a new `Hangup` and `Closed`.
            for output in [o for o in self._outputs if isinstance(o, (Hangup, Closed))]:
                self._outputs.remove(output)
            self._finish(WhyClosed.INTERRUPTED, "")
        self._in_call = False

    def _move(self, cause: Cause) -> None:
        """Look the new state up in the table. The state changes nowhere else."""
        self._state = TRANSITIONS[self._state][cause]

    def _begin(self, now: float) -> float:
        """Return the checked time of a call, and recover if the last call was interrupted.

        Raises: LocalProtocolError if `now` is not a finite number.
        """
        now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        return now
