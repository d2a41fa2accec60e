"""An exchange with a book of orders that does what a test tells it, faults included. It stands on `ExchangeConnection`.

Rules of this file
- Without a fault it is the exchange of the page: it acts once, answers once, and says what is true of its book.
- A fault is asked for by name and befalls one request. Nothing is random.
- Everything that it did to the book stands in `log`, so that a test can hold outcomes against what really happened.

It does not know sockets or any clock; the wall clock is `epoch` plus the `now` that it is told.

It is a little long because the exchange and the link that carries out its faults are read together.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TypeAlias

import attrs

from .._codec import DEFAULT, Codec
from .._credentials import Credentials, SignedLogin, sign_stamp
from .._errors import check_part
from .._events import Hangup, Transmit, Wait
from .._exchange import (
    ABORT,
    CancelRequested,
    Dropped,
    ExchangeConfig,
    ExchangeConnection,
    LoginRequested,
    OtherRequested,
    check_refusal,
)
from .._orders import CancelOrder
from .._states import State
from .._timers import Timer, finite_time
from ._book import SAME_ORDER_INTERVAL, Book
from ._channels import Channels
from ._faults import AT_LOGIN, KEPT_BACK, Fault, check_faults
from ._frames import Direction, SeenFrame, redacted

STAMP_VALID = 30.0
"""Seconds for which a login is valid after its stamp, and by which a stamp may be ahead."""

_MILLISECONDS_FROM = 10**11
"""A stamp from here on is in milliseconds: in seconds it would be the year 5138."""

_GOING_AWAY = "Service upgrade in progress. Connection reset imminent. Please reconnect."


@attrs.frozen(kw_only=True)
class Act:
    """An entry of `ScriptedExchange.log`: what the exchange did with one cancel that it received."""

    at: float
    id: str
    order: CancelOrder
    cancelled: bool
    """Whether the order was live and is now cancelled, by this very request."""

    code: str
    """What the true answer was, whether or not a fault kept it back."""

    fault: Fault | None = None


ScriptedOutput: TypeAlias = Transmit | Hangup | Dropped | Wait
"""What `ScriptedLink.poll` gives."""


class ScriptedExchange:
    """An exchange for tests: a book of live orders, and faults on request. `link` gives the far end of one WebSocket.

    `orders` are live at the start. With `credentials` a login is checked (key, passphrase, stamp, signature); without,
    any key is welcome. `epoch` is the wall clock, in seconds since 1970, at the moment that the caller calls 0.
    `refusals` are order ids and the codes (decimal strings other than "0") with which their cancels are refused. `late_by`
    is how many seconds late the fault LATE is, `grace` how many pass between the notice of GOING_AWAY and the drop.
    `cancels_per_second` is the allowance of the account over all links ("Rate limit will be shared with Rest API"),
    `same_order_interval` the seconds from one cancel of an order to the next (45129); None switches each off. `lenient` takes
    logins as clients in the wild send them: stamps as numbers or in milliseconds, `api_key`, keys that nobody asked for; and it
    acknowledges subscriptions to any channel. `on_frame` is given every message that is received or sent, without its secrets.

    Raises: ValidationError for a part that is none, and for a code in `refusals` that is no refusal's.
    """

    def __init__(
        self,
        orders: Iterable[CancelOrder] = (),
        *,
        credentials: Credentials | None = None,
        epoch: float = 1_763_958_366.0,
        config: ExchangeConfig | None = None,
        codec: Codec | None = None,
        refusals: Mapping[str, str] | None = None,
        cancels_per_second: int | None = 10,
        same_order_interval: float | None = SAME_ORDER_INTERVAL,
        late_by: float = 15.0,
        grace: float = 60.0,
        lenient: bool = False,
        on_frame: Callable[[SeenFrame], object] | None = None,
    ) -> None:
        check_part("credentials", credentials, Credentials)
        check_part("config", config, ExchangeConfig)
        check_part("codec", codec, Codec)
        config = ExchangeConfig() if config is None else config
        self.config: ExchangeConfig = attrs.evolve(config, lenient=True) if lenient else config
        self.codec: Codec = DEFAULT if codec is None else codec
        self.credentials = credentials
        self.epoch = epoch
        self.refusals: dict[str, str] = dict(refusals or {})
        self.late_by = late_by
        self.grace = grace
        self.log: list[Act] = []
        """What became of each cancel that was received, in the order received."""

        self.on_frame = on_frame
        self._book = Book(self.refusals, cancels_per_second, self.config.jitter or 0.0, same_order_interval)
        self._faults: deque[Fault | None] = deque()
        self._login_faults: deque[Fault | None] = deque()
        self._links = 0
        self._subscribers: dict[int, ScriptedLink] = {}
        """Those links that have subscriptions, by their numbers."""
        for code in self.refusals.values():
            check_refusal(code)
        for order in orders:
            self.place(order)

    def __repr__(self) -> str:
        coming = len(self._faults) + len(self._login_faults)
        return f"<ScriptedExchange {len(self.live)} live, {len(self.log)} in the log, {coming} faults to come>"

    @property
    def live(self) -> tuple[CancelOrder, ...]:
        """The orders that are live, in the order they were placed."""
        return self._book.live

    def place(self, order: CancelOrder) -> None:
        """Put a live order into the book, under each of its ids."""
        self._book.place(order)

    def inject(self, *faults: Fault | None) -> None:
        """Let these befall the coming cancels, one each, in the order they arrive; None leaves one alone.

        Raises: ValidationError for what is no `Fault`, and nothing has changed.
        """
        check_faults(faults, frozenset(Fault))
        self._faults.extend(faults)

    def inject_login(self, *faults: Fault | None) -> None:
        """Let these befall the coming logins, one each; None leaves one alone. With GOING_AWAY, THROTTLE and GARBAGE the
        notice, the error or the garbage comes first, and then the answer.

        Raises: ValidationError for a fault that a login cannot have, and nothing has changed.
        """
        check_faults(faults, AT_LOGIN)
        self._login_faults.extend(faults)

    def link(self) -> ScriptedLink:
        """The exchange's end of a new WebSocket."""
        self._links += 1
        return ScriptedLink(self, self._links)

    # --- for the links ---

    def _next_fault(self, *, login: bool = False) -> Fault | None:
        """The fault that befalls the request that has just arrived."""
        faults = self._login_faults if login else self._faults
        return faults.popleft() if faults else None

    def wall_clock(self, now: float) -> float:
        """Seconds since 1970."""
        return self.epoch + now

    def _why_not(self, login: SignedLogin, now: float) -> tuple[str, str] | None:
        """The code and the words with which a login is refused; None when it is right."""
        credentials = self.credentials
        if credentials is None:
            return None
        if login.api_key != credentials.api_key:
            return "30011", "Invalid ACCESS_KEY"
        if login.passphrase != credentials.passphrase:
            return "30012", "Invalid ACCESS_PASSPHRASE"
        stamp = login.timestamp
        seconds: float = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 15 else inf
        if seconds >= _MILLISECONDS_FROM and self.config.lenient:
            seconds /= 1000
        if seconds >= _MILLISECONDS_FROM:
            return "30013", "Invalid ACCESS_TIMESTAMP"
        if abs(self.wall_clock(now) - seconds) > STAMP_VALID:
            return "30014", "Timestamp expired"
        if login != sign_stamp(credentials, stamp):
            return "30015", "Invalid sign"
        return None

    def _act(self, id: str, order: CancelOrder, now: float, fault: Fault | None) -> tuple[str, str, CancelOrder | None]:
        """Do what the cancel asks, as far as the book allows; the code and the words of the true answer, and what it did."""
        code, message, gone = self._book.cancel(order, now)
        self.log.append(Act(at=now, id=id, order=order, cancelled=gone is not None, code=code, fault=fault))
        return code, message, gone

    def _push(self, order: CancelOrder, by: ScriptedLink, now: float) -> None:
        """Tell all who have subscribed that this order has been cancelled."""
        for link in tuple(self._subscribers.values()):
            link._push(order, now)
            if link is not by and link.on_news is not None:
                link.on_news()


class ScriptedLink:
    """The far end of one WebSocket to a `ScriptedExchange`. Drive it like a `Connection`.

    What a client does on one link may be news on another, which has subscribed to it: set `on_news` to what drains this one.
    """

    def __init__(self, exchange: ScriptedExchange, number: int = 0) -> None:
        self.exchange = exchange
        self.number = number
        """Which link of its exchange it is, counted from 1."""

        self.on_news: Callable[[], object] | None = None
        self.connection: ExchangeConnection = ExchangeConnection(exchange.config, exchange.codec)
        self._channels = Channels(exchange.codec, lenient=exchange.config.lenient)
        self._later: list[tuple[float, int, str | Hangup]] = []
        """What is said, or whether it is hung up, at a later time."""
        self._count = 0
        self._now: float = 0.0

    def __repr__(self) -> str:
        return f"<ScriptedLink {self.state.value}>"

    @property
    def state(self) -> State:
        """Where this end of the connection is in its life."""
        return self.connection.state

    def opened(self, now: float) -> None:
        """The client has connected."""
        self.connection.opened(now)

    def receive(self, message: str | bytes, now: float) -> None:
        """The client said this."""
        self._seen("received", message, now)
        self.connection.receive(message, now)

    def lost(self, now: float, reason: str = "") -> None:
        """The transport has ended."""
        self._leave()
        self.connection.lost(now, reason)

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """Hang up; code 1006 drops the transport without a close frame."""
        self._leave()
        self.connection.close(now, code, reason)

    def say(self, text: str, now: float) -> None:
        """Say anything: a push, a notice, garbage."""
        self.connection.say(text, now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed: what was put off until now happens."""
        self.connection.handle_timeout(now)
        while self._later and self._later[0][0] <= now:
            what = heapq.heappop(self._later)[2]
            if self.state is State.CLOSED:
                continue
            if isinstance(what, Hangup):
                self.connection.close(now, what.code, what.reason)
            else:
                self.connection.say(what, now)

    def poll(self, now: float, writable: bool = True) -> ScriptedOutput:
        """The next thing to do: call it until it gives a `Wait`, after every call."""
        self._now = now = finite_time(now, self._now)
        while True:
            output = self.connection.poll(now, writable)
            if isinstance(output, LoginRequested):
                self._login(output.login, now)
            elif isinstance(output, CancelRequested):
                self._cancel(output.id, output.order, now)
            elif isinstance(output, OtherRequested):
                self._other(output, now)
            elif isinstance(output, Wait) and self._later and self.state is not State.CLOSED:
                at = self._later[0][0]
                return output if output.until is not None and output.until <= at else Wait(until=at, timer=Timer.SCRIPT)
            else:
                if isinstance(output, Transmit):
                    self._seen("sent", output.text, now)
                elif isinstance(output, Dropped):
                    self._leave()
                return output

    # --- what it does ---

    def _other(self, request: OtherRequested, now: float) -> None:
        if self.state is State.CLOSED:
            return
        for answer in self._channels.answers(request.op, request.text, ready=self.state is State.READY):
            self.say(answer, now)
        if len(self._channels):
            self.exchange._subscribers[self.number] = self
        else:
            self.exchange._subscribers.pop(self.number, None)

    def _push(self, order: CancelOrder, now: float) -> None:
        if self.state is State.READY:
            for push in self._channels.pushes(order, self._exchange_ts(now)):
                self.say(push, now)

    def _leave(self) -> None:
        self._later.clear()
        self.exchange._subscribers.pop(self.number, None)

    def _seen(self, direction: Direction, message: str | bytes, now: float) -> None:
        if self.exchange.on_frame is not None:
            self.exchange.on_frame(SeenFrame(at=now, link=self.number, direction=direction, text=redacted(message)))

    def _exchange_ts(self, now: float) -> int:
        return int(self.exchange.wall_clock(now) * 1000)

    def _login(self, login: SignedLogin, now: float) -> None:
        fault = self.exchange._next_fault(login=True)
        if self.state is State.CLOSED or fault is Fault.SILENT:
            return
        if fault in (Fault.DROP_BEFORE, Fault.DROP_AFTER):
            self.close(now, ABORT, fault.value)
            return
        if fault is Fault.GOING_AWAY:
            self._go_away(now)
        elif fault is Fault.THROTTLE:
            self._say_error("30006", "request too many", now)
        elif fault is Fault.GARBAGE:
            self.say("<html>", now)
        refusal = self.exchange._why_not(login, now)
        if refusal is None:
            self.connection.accept_login(now)
        else:
            self.connection.refuse_login(*refusal, now)

    def _cancel(self, id: str, order: CancelOrder, now: float) -> None:
        fault = self.exchange._next_fault()
        if self.state is State.CLOSED:
            return
        if fault is Fault.DROP_BEFORE:
            self.close(now, ABORT, fault.value)
            return
        if fault is Fault.THROTTLE:
            self.connection.forget(id, now)
            self._say_error("30006", "request too many", now)
            return
        code, message, gone = self.exchange._act(id, order, now, fault)
        if gone is not None and fault is Fault.PUSH_FIRST:
            self.exchange._push(gone, self, now)
        self._answer(id, order, code, message, now, fault)
        if gone is not None and fault not in (Fault.PUSH_FIRST, Fault.NO_PUSH):
            self.exchange._push(gone, self, now)

    def _answer(self, id: str, order: CancelOrder, code: str, message: str, now: float, fault: Fault | None) -> None:
        exchange_ts = self._exchange_ts(now)
        encode = self.exchange.codec.encode_reply
        if fault is Fault.UNSURE:
            code, message = "40010", "Request timed out"
        if fault in KEPT_BACK:
            self.connection.forget(id, now)
        answer = "" if fault is None else encode(order, id, code=int(code), message=message, exchange_ts=exchange_ts)
        match fault:
            case Fault.SILENT:
                pass
            case Fault.LATE:
                self._put_off(now + self.exchange.late_by, answer)
            case Fault.GARBAGE:
                self.say("\x00\x1b[2Jnot json", now)
            case Fault.WRONG_TYPES:
                self.say(answer.replace(f'"id":"{id}"', '"id":7').replace(f'"code":{code}', '"code":true'), now)
            case Fault.UNKNOWN_ID:
                self.say(encode(order, f"{id[:38]}:x", code=int(code), message=message, exchange_ts=exchange_ts), now)
            case Fault.NO_ARG:
                self._say_error("30016", "Param error", now)
            case Fault.DROP_AFTER:
                self.close(now, ABORT, fault.value)
            case _:
                if fault is Fault.GOING_AWAY:
                    self._go_away(now)
                if code == "0":
                    self.connection.accept(id, now, exchange_ts=exchange_ts)
                else:
                    self.connection.refuse(id, code, message, now, exchange_ts=exchange_ts)
                if fault is Fault.DUPLICATE:
                    self.say(answer, now)

    def _go_away(self, now: float) -> None:
        self._say_error("30033", _GOING_AWAY, now)
        self._put_off(now + self.exchange.grace, Hangup(code=ABORT, reason=Fault.GOING_AWAY.value))

    def _say_error(self, code: str, message: str, now: float) -> None:
        self.say(self.exchange.codec.encode_event("error", int(code), message), now)

    def _put_off(self, at: float, what: str | Hangup) -> None:
        self._count += 1
        heapq.heappush(self._later, (at, self._count, what))
