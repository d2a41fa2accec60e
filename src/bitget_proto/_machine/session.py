"""The state machine of a session, which reconnects. It does no I/O and reads no clock.

A session asks for WebSockets and creates a `Connection`, called a link, for each. `Links` holds
them in lanes: one lane, unless `SessionConfig.links` says more. A lane has at most one serving
link, which sends cancels, at most one successor, which is dialled or logs in, and older links,
which drain. Every cancel that was taken gets exactly one outcome, which states only what is known
of all its attempts.

`cancel` puts a cancel into `SessionQueue`: into `open`, the cancels without an outcome, and into
`waiting`, those that no link holds. `CancelSender` passes it to a serving link once the link can
send it, with the same id and the rest of its time. `LinkOutputs` handles what the links output: the
link's outcome for a cancel is final, or puts the cancel back into `waiting`. `SessionOutcomes`
gives each cancel its outcome. `SessionCloser` ends the session. `OwnFrames` holds the caller's own
frames.

Rules for changes
- `CancelSender` decides which link gets a cancel, `Links` which link is dialled and which serves,
  `Connection` what a message means, `cancel_attempts` what the outcome of an attempt means for the
  cancel, and `backoff` when to dial.
- Only `poll` returns outputs; the inputs and commands add to `_outputs`. Properties change nothing.
- An input never raises because of what a peer did, and is ignored if its link has ended. An input
  for a link that was never dialled, and a command that is refused, raise `LocalProtocolError`
  before anything has changed.
- The state changes in `Links.move` only. A cancel gets its outcome in `SessionOutcomes` only.
- Timers fire in `handle_timeout` only. `poll` compares the backoff, the spacing and the rate limits
  with `now`.
- For interruptions, the rules of `connection` apply. The jitter function is the caller's. It is
  called while `_in_call` is not set, so an interrupt in it leaves the state consistent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Container, Iterable
from math import inf
from typing import TYPE_CHECKING, Literal

from .._values.credentials import SignedLogin
from .._values.errors import check_part
from .._values.events import CallerError, Transmit, Wait, WhyUnresolved
from .._values.orders import CancelOrder, InstType
from .._values.set_module import set_module
from .._values.timers import Timer
from .._wire.codec import DEFAULT, Codec
from .arguments import (
    Queued,
    as_message,
    check_closing,
    check_frame,
    check_jitter,
    check_login,
    check_new,
    check_order,
    check_orders,
    check_own_frames,
    check_rest_reply,
    check_retry_after,
    check_timeout,
    check_unsent,
    no_rest_error,
    takes_no_more,
    unsent_ids,
)
from .backoff import Draw
from .cancel_sender import CancelSender
from .connection import NORMAL_CLOSURE, Connection
from .deadlines import MAX, finite_time
from .link_outputs import LinkOutputs
from .links import Lane, Links
from .own_frames import OwnFrames
from .rate_limit import Budget
from .request_ids import RequestIds
from .session_closer import SessionCloser
from .session_config import Policy, SessionConfig, check_policy
from .session_events import Dial, LinkHangup, LinkTransmit, RestCancel, SessionOutput
from .session_outcomes import SessionOutcomes
from .session_queue import SessionQueue
from .session_states import SessionState

if TYPE_CHECKING:
    from .rest_attempts import RestAttempts

_UP, _ENDED = SessionState.UP, SessionState.ENDED


@set_module("bitget_proto")
class Session:
    """The client side of a sequence of WebSocket connections: it reconnects.

    Two connections overlap while one replaces the other. With `SessionConfig.links`, several are
    open at once. A session asks for a WebSocket when it needs one, and keeps its cancels when a
    connection is lost. Each connection is a link, identified by the number in its `Dial`. Drain
    `poll` first: it returns a `Dial`. After each call, drain `poll` again: call it until it returns
    a `Wait`.

    `config` holds the limits. `codec` and `budget` are shared by all links. The default budget
    has the rate of one link. Without it, two links would send at twice that rate while one replaces
    the other; `Budget(None)` sets no limit. `jitter` is a function that returns a number from 0 to
    1, such as `random.random`. It spreads the dials of many clients.

    `now` is the time in seconds on a clock of your choice that does not run backwards. A time
    earlier than the last one counts as the last one. Every call raises LocalProtocolError if `now`
    is not a finite number or `link` is not the number of a link that was dialled. If `jitter`
    raises an `Exception` or returns something other than such a number, `poll` returns a
    `CallerError`, and this backoff has no jitter.

    A call that raises LocalProtocolError, or its subclass ValidationError or NoRoom, leaves the
    state unchanged.

    If an exception, such as one raised by a signal handler, interrupts a call that has begun to
    change the state, the next call ends the session: `poll` returns the remaining outputs, then an
    outcome for each cancel that has none (INTERRUPTED), a `LinkHangup` and a `LinkClosed` for each
    link, and `Ended`. If the exception comes before the first change, nothing has changed. You
    cannot tell the two cases apart, so repeat an interrupted input: either it is handled normally,
    or it ends the session.

    A session is not thread-safe: call it from one thread, and pass work from other threads through
    a queue.

    Raises: ValidationError if an argument is not of its type.
    """

    __slots__ = (
        "_budget",
        "_cancels",
        "_closer",
        "_codec",
        "_config",
        "_ids",
        "_in_call",
        "_links",
        "_now",
        "_outcomes",
        "_outputs",
        "_own",
        "_rest",
        "_sender",
    )  # fmt: skip

    def __init__(
        self,
        config: SessionConfig | None = None,
        codec: Codec | None = None,
        budget: Budget | None = None,
        *,
        jitter: Callable[[], float],
    ) -> None:
        check_part("config", config, SessionConfig, ": pass a Config as SessionConfig(link=…)")
        check_part("codec", codec, Codec)
        check_part("budget", budget, Budget)
        check_jitter(jitter)
        self._config = SessionConfig() if config is None else config
        link = self._config.link
        self._codec = DEFAULT if codec is None else codec
        self._budget = (
            Budget(link.messages_per_second, link.pace_margin) if budget is None else budget
        )
        self._now = -inf
        self._in_call = False
        """Whether a call is in progress, or was interrupted by an exception."""
        self._outputs: deque[SessionOutput] = deque()
        outputs = self._outputs

        self._cancels = SessionQueue(self._config)
        self._ids = RequestIds(link.id_prefix)
        self._links = Links(self._config, jitter)
        self._own = OwnFrames(self._links)
        self._sender = CancelSender(self._cancels, self._links)
        self._outcomes = SessionOutcomes(self._cancels, self._links, outputs)
        self._rest: RestAttempts | None = None
        """The cancels that are sent by REST; None without `SessionConfig.rest_after`."""
        if self._config.rest_after is not None:
            # The import takes milliseconds, and most sessions do not need it.
            from .rest_attempts import RestAttempts

            self._rest = RestAttempts(self._config, self._codec.dialect)
        received = LinkOutputs(self._links, self._outcomes, self._own, self._rest, outputs)
        self._closer = SessionCloser(
            link, self._cancels, self._links, self._outcomes, received, self._rest, outputs
        )

    def __repr__(self) -> str:
        return f"<Session {self.state.value}, {len(self._cancels)} in flight>"

    # --- properties ---

    @property
    def state(self) -> SessionState:
        """The state of the session."""
        return self._links.state

    @property
    def in_flight(self) -> int:
        """The number of cancels without an outcome, whether or not a link holds them."""
        return len(self._cancels)

    @property
    def capacity(self) -> int:
        """The number of cancels that you can submit now.

        The limit applies to the session as a whole.
        """
        if self._closer.closing or self._closer.pending is not None:
            return 0
        return self._cancels.room

    @property
    def waiting_for_grant(self) -> int:
        """The number of cancels that could be sent if the budget allowed more, as of the last call.

        Pass it to `Lease.wanted` after each drain, so that the lease asks for a larger grant.
        """
        if self._in_call or self._closer.close_at <= self._now:
            return 0
        now, cancels = self._now, self._cancels
        count = self._sender.waiting_for_grant(now)
        if self._rest is not None:
            count = max(count, self._rest.waiting_for_grant(cancels, self._budget, now))
        return min(cancels.waiting.size, count)

    @property
    def config(self) -> SessionConfig:
        """The limits of the session."""
        return self._config

    @property
    def codec(self) -> Codec:
        """The codec, which has the dialect of the account."""
        return self._codec

    # --- inputs: what has happened ---

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        """Handle the opening of the WebSocket for a `Dial`. Then drain `poll`.

        `login` must have been signed just before. The call is ignored if the link has already
        ended: its `LinkHangup` asked you to abort the dial.

        Raises: LocalProtocolError if it was called before for this link; ValidationError if `login`
        is not a `SignedLogin`.
        """
        now = self._begin(now)
        known = self._links.find(link)
        if known is not None:
            check_login(login, opened=known.connection._opened)
        self._in_call, self._now = True, now
        if known is not None:
            known.connection.opened(now, login=login)
            known.dial_until = inf
            lifetime = self._config.lifetime
            if lifetime is not None:
                known.rotate_at = now + (lifetime - self._config.rotate_before)
        self._in_call = False

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        """Handle one whole WebSocket message of a link, text or bytes. Then drain `poll`.

        Raises: ValidationError if the message is neither text nor bytes.
        """
        now = self._begin(now)
        known = self._links.find(link)
        message = as_message(message)
        self._in_call, self._now = True, now
        if known is not None:
            known.connection.receive(message, now)
            self._closer.handle_outputs(known, now)
            self._closer.end_if_done(now)
        self._in_call = False

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """Handle the end of a link's transport, or a failed dial. Then drain `poll`.

        `reason` is text for people. `unsent` has the ids of cancels whose frames `poll` returned
        for this link, if you are certain that not one byte of the frame was sent. Leave out an id
        if you are not sure. `retry_after` is the number of seconds of the exchange's `Retry-After`
        (HTTP 429). No link is dialled for that time, but for at most 300 s.

        Raises: ValidationError if `unsent` is not an iterable of strings, or `retry_after` is not a
        number of seconds from 0 up.
        """
        now = self._begin(now)
        known = self._links.find(link)
        ids = unsent_ids(unsent)
        if retry_after is not None:
            retry_after = check_retry_after(retry_after)
        self._in_call, self._now = True, now
        if known is not None:
            if retry_after is not None:
                for lane in self._links.lanes:
                    lane.redial.retry_after(now, retry_after)
            known.connection.lost(now, reason, ids)
            self._closer.handle_outputs(known, now)
            self._closer.end_if_done(now)
        self._in_call = False

    def rest_replied(self, number: int, reply: tuple[int, str | bytes], now: float) -> None:
        """Handle the answer to the `RestCancel` with this number. Then drain `poll`.

        `reply` is the HTTP status and the whole body. After 429 ("Too Many Requests") the cancel is
        queued again, and no cancel is sent for a second. An answer that comes after the outcome is
        a `LateReply`. A second answer is ignored.

        Raises: ValidationError if `reply` is not a status and a body, or `number` not a whole
        number; LocalProtocolError if `poll` has returned no `RestCancel` with this number.
        """
        now = self._begin(now)
        rest = self._check_rest(number)
        status, body = check_rest_reply(reply)
        self._in_call, self._now = True, now
        self._closer.rest_ended(rest.replied(number, status, body, self._budget, now), now)
        self._in_call = False

    def rest_failed(self, number: int, reason: str, now: float, *, unsent: bool = False) -> None:
        """Report that the `RestCancel` with this number got no answer. Then drain `poll`.

        Pass `unsent=True` only if you are certain that not one byte of the request was sent, for
        example because no connection could be opened: the cancel is queued again. Without `unsent`,
        the cancel ends `Unresolved(sent=True)` with UNSURE, under either policy, and its `hint`
        contains `reason`, a text for people.

        Raises: the same as `rest_replied`; ValidationError if `unsent` is not True or False.
        """
        now = self._begin(now)
        rest = self._check_rest(number)
        check_unsent(unsent)
        self._in_call, self._now = True, now
        self._closer.rest_ended(rest.failed(number, reason, now, unsent=unsent), now)
        self._in_call = False

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due, of the session and of each link. Then drain `poll`.

        It may be called early, late or repeatedly.
        """
        now = self._begin(now)
        self._in_call, self._now = True, now
        for link in list(self._links.all.values()):
            link.connection.handle_timeout(now)
            if link.dial_until <= now:
                # A later answer to the dial is ignored.
                why = f"no answer to the dial within {self._config.dial_timeout} s"
                self._outputs.append(LinkHangup(code=NORMAL_CLOSURE, reason=why, link=link.number))
                link.connection.lost(now, why)
            self._closer.handle_outputs(link, now)
        self._outcomes.expire(now)
        self._closer.expire_rest(now)
        for lane in self._links.lanes:
            serving = lane.serving
            if serving is not None and lane.state is _UP and serving.rotate_at <= now:
                self._links.leave(serving, now)
        self._closer.handle_timeout(now)
        self._in_call = False

    # --- commands ---

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        """Take a cancel and return its id; exactly one outcome follows. Then drain `poll`.

        `id`, `timeout` and `urgent` are as in `Connection.cancel`. The cancel may wait
        `Config.queue_timeout` seconds from now to be sent, and each attempt `Config.answer_timeout`
        seconds for its answer. While no link is up, the cancel waits for at most
        `SessionConfig.no_link_timeout` seconds. `policy` says what to do if a link ends after it
        sent the cancel and before the answer; the default is `SessionConfig.policy`.

        Raises: LocalProtocolError if the session is closing or has ended; NoRoom if
        `Config.max_in_flight` cancels have no outcome; ValidationError for an invalid order, id,
        timeout or policy.
        """
        now = self._begin(now)
        self._check_open("cancels")
        self._cancels.check_room(1)
        check_order(order, self._codec)
        until = inf if timeout is None else now + check_timeout(timeout)
        policy = self._config.policy if policy is None else check_policy(policy)
        id = self._ids.make() if id is None else self._ids.check(id, self._outcomes.id_conflict)
        self._in_call, self._now = True, now
        self._cancels.take(id, order, now, until, policy, urgent=urgent)
        self._in_call = False
        return id

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        """Take all of these cancels, or none, and return their ids in order. Then drain `poll`.

        `timeout` and `policy` apply to each, as in `cancel`.

        Raises: the same as `cancel`; NoRoom if there is no room for all of them.
        """
        now = self._begin(now)
        given = check_orders(orders, self._codec)
        self._check_open("cancels")
        self._cancels.check_room(len(given))
        until = inf if timeout is None else now + check_timeout(timeout)
        policy = self._config.policy if policy is None else check_policy(policy)
        self._in_call, self._now = True, now
        ids = [self._ids.make() for _ in given]
        for id, order in zip(ids, given, strict=True):
            self._cancels.take(id, order, now, until, policy, urgent=False)
        self._in_call = False
        return ids

    def withdraw(self, id: str, now: float) -> bool:
        """Withdraw a cancel, which ends `Unresolved(sent=False)`. Then drain `poll`.

        The reason in the outcome is WITHDRAWN. Return False, and change nothing, if the cancel was
        already sent, on a link or by REST, or if no cancel with this id is open.
        """
        now = self._begin(now)
        waiting = self._cancels.waiting.get(id) if isinstance(id, str) else None
        self._in_call, self._now = True, now
        withdrawn = waiting is not None and waiting.sent_at is None
        if waiting is not None and withdrawn:
            self._outcomes.settle(waiting, waiting.unresolved(WhyUnresolved.WITHDRAWN, now))
            self._closer.end_if_done(now)
        self._in_call = False
        return withdrawn

    def send(self, text: str, now: float) -> None:
        """Queue a frame of your own on the current link or the next one; see `Connection.send`.

        When a link ends, its queued frames are dropped, and so are the subscriptions that you sent
        on it: subscribe again at each `Up`. Then drain `poll`.

        Raises: LocalProtocolError if the session is closing or has ended; NoRoom if
        `Config.max_own_frames` frames wait; ValidationError if `text` cannot be a text message or
        has the id of a cancel.
        """
        now = self._begin(now)
        self._check_open("frames")
        check_frame(text)
        own = self._own.queue()
        check_own_frames(len(own), self._config.link.max_own_frames)
        self._ids.remember(self._codec.trade_ids(text), self._outcomes.open_conflict)
        self._now = now
        own.append(text)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        """Subscribe to changes of your orders on every link; see `Connection.subscribe_orders`.

        Each link subscribes again before its first cancel, and the exchange answers each time. Then
        drain `poll`.

        Raises: LocalProtocolError if the session is closing or has ended; ValidationError for
        anything but product lines of the account.
        """
        now = self._begin(now)
        self._check_open("frames")
        text = self._codec.encode_subscribe(inst_types)
        self._in_call, self._now = True, now
        self._own.subscribe(text)
        self._in_call = False

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        """Close the session; nothing more is taken. Then drain `poll`.

        `queued` and `within` are as in `Connection.close`. With `queued="send"`, the session
        continues to dial for what is queued, and `SessionConfig.no_link_timeout` applies while no
        link is up.

        The session ends at once if nothing is left to send or to be answered, or if `close` is
        called again. After the end, the call does nothing.

        Raises: ValidationError for another value of `queued`, or a `within` that is not a number of
        seconds above 0.
        """
        now = self._begin(now)
        check_closing(queued, within)
        self._in_call, self._now = True, now
        self._closer.close(queued, within, now)
        self._in_call = False

    # --- outputs ---

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        """Return the next output: a `Dial`, a frame or hangup for a link, a `RestCancel`, an event
        or a `Wait`.

        Call it after every input and command, until it returns a `Wait`. `busy` contains the links
        on which a write is in progress: `poll` returns no `LinkTransmit` for these links. The
        number 0 stands for REST: if `busy` contains it, `poll` returns no `RestCancel`.

        Raises: ValidationError if `busy` is not a container of link numbers.
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
            dial_at, lane = inf, None
            if self._links.state is not _UP or len(self._links.lanes) > 1:
                dial = self._links.next_dial()
                if isinstance(dial, CallerError):
                    return dial
                dial_at, lane = dial
            self._in_call = True
            output = (
                self._advance(now, busy, dial_at)
                if lane is None or dial_at > now
                else self._dial(lane, now)
            )
            self._in_call = False
            if output is not None:
                return output

    def _advance(
        self, now: float, busy: Container[int], dial_at: float
    ) -> LinkTransmit | RestCancel | Wait | None:
        """Return a frame or a request, or how long to wait; None if there may be a new output."""
        send_at, send_timer = inf, None
        if self._cancels.waiting.size and self._closer.close_at > now:
            frame = self._sender.next(now, busy)
            if isinstance(frame, LinkTransmit):
                return frame
            send_at, send_timer = frame
            if self._rest is not None:
                asked = self._rest.next(self._cancels, self._links.serving, self._budget, busy, now)
                if isinstance(asked, RestCancel):
                    return asked
                if asked[0] < send_at:
                    send_at, send_timer = asked
        until, timer = self._next_timer()
        if send_at < until:
            until, timer = send_at, send_timer
        wait = None
        for link in self._links.all.values():
            output = link.connection.poll(now, link.number not in busy)
            if isinstance(output, Transmit):
                link.wrote_at = now
                return LinkTransmit(output.text, (), output.secret, link=link.number)
            if not isinstance(output, Wait):
                link.connection._outputs.appendleft(output)
                self._closer.handle_outputs(link, now)
                return None
            if output.until is not None and output.until <= until:
                until, wait = output.until, output
        if dial_at < until:
            return Wait(dial_at, Timer.DIAL)
        return wait or Wait(None if timer is None else until, timer)

    def _next_timer(self) -> tuple[float, Timer | None]:
        """Return the time of the session's own next timer, and the timer."""
        until = self._cancels.due()
        timer = None if until == inf else Timer.REQUEST
        if self._cancels.waiting.size and not self._links.serving:
            for cancel in self._cancels.first_without_link():
                if (at := self._links.no_link_until(cancel.taken_at)) < until:
                    until, timer = at, Timer.NO_LINK
        if self._rest is not None:
            at, why = self._rest.due()
            if at < until:
                until, timer = at, why
        for lane in self._links.lanes:
            successor, serving = lane.successor, lane.serving
            if successor is not None and successor.dial_until < until:
                until, timer = successor.dial_until, Timer.DIALLED
            if serving is not None and lane.state is _UP and serving.rotate_at < until:
                until, timer = serving.rotate_at, Timer.ROTATION
        if self._closer.close_at < until and self._closer.pending is None:
            until, timer = self._closer.close_at, Timer.DRAIN
        return until, timer

    # --- for `record` ---

    def _attach_recorder(
        self, budget: Callable[[Budget], Budget], jitter: Callable[[Draw], Draw]
    ) -> tuple[Codec, Collection[int]]:
        """Wrap the budget and the jitter. Return the codec and a view of the links' numbers.

        This is the only private attribute that `record` uses.

        Raises: ValidationError if the session was used before.
        """
        check_new(self._now)
        self._budget = budget(self._budget)
        self._links.wrap_jitter(jitter)
        return self._codec, self._links.all.keys()

    # --- links ---

    def _begin(self, now: float) -> float:
        """Return the checked time of a call, and recover if the last call was interrupted.

        Raises: LocalProtocolError if `now` is not a finite number.
        """
        if type(now) is not float or not self._now <= now <= MAX:
            now = finite_time(now, self._now)
        if self._in_call:
            self._recover()
        return now

    def _dial(self, lane: Lane, now: float) -> Dial:
        connection = Connection(self._config.link, self._codec, self._budget)
        connection._ids = self._ids  # no batch may have the id of a cancel
        connection._outcomes.answered = self._outcomes.answered
        self._own.dialled(connection)
        link = self._links.dial(lane, connection, now)
        return Dial(link=link.number, stamp_refused=self._links.stamp_refused)

    # --- cancels ---

    def _check_rest(self, number: int) -> RestAttempts:
        """Return the REST requests, if one of them has this number.

        Raises: the same as `RestAttempts.check_number`; LocalProtocolError without `rest_after`.
        """
        if self._rest is None:
            raise no_rest_error()
        self._rest.check_number(number)
        return self._rest

    def _check_open(self, what: Literal["cancels", "frames"]) -> None:
        """Raise LocalProtocolError if the session is closing or has ended."""
        if self._closer.closing or self._closer.pending is not None:
            state = "has ended" if self.state is _ENDED else "is closing"
            raise takes_no_more(f"the session {state}", what)

    # --- the end ---

    def _recover(self) -> None:
        """End the session after a call that was interrupted at an unknown point.

        Keep the outputs, add an outcome for each cancel that has none, and end every link and the
        session. If this is interrupted too, the next call repeats it.
        """
        if self._links.state is not _ENDED:
            self._closer.interrupted(self._now)
        self._in_call = False
