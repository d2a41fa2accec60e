"""An exchange with a book of orders that does what a test asks for, faults included. It stands on `ExchangeConnection`.

Rules of this file
- Without a fault it is the exchange of the page: it acts once, answers once, and says what is true of its book.
- What is asked of the exchange concerns all of its links, those that come later included; of a link, that link alone.
- A fault is asked for by name and applies to one request. Nothing is random.
- Everything that it did to the book stands in `log`, so that a test can hold outcomes against what really happened.

It does not know sockets or any clock; the wall clock is `epoch` plus the `now` of its caller.

It is a little long because the exchange and the link that carries out its faults are read together.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from math import inf
from typing import Any, TypeAlias

import attrs

from ..._machine.deadlines import after, finite_time, is_seconds
from ..._values.credentials import Credentials, SignedLogin, sign_stamp
from ..._values.errors import ValidationError, check_part, safe_repr
from ..._values.events import Hangup, Transmit, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from ..._values.timers import Timer
from ..._wire.exchange_codec import encode_event, encode_reply
from .behaviour import Behaviour, Outbox, _Behaves, check_delay
from .exchange_connection import (
    ABORT,
    CancelRequested,
    ConnectionDropped,
    ExchangeConfig,
    ExchangeConnection,
    LoginRequested,
    OtherRequested,
    check_refusal,
)
from .faults import AT_LOGIN, KEPT_BACK, Fault, check_faults
from .logins import MAINTENANCE_CODES, Logins, Refusal, check_times, refusal
from .order_book import SAME_ORDER_INTERVAL, Book
from .placed_orders import encode_placed, placed_order, placement_of
from .seen_frames import Direction, SeenFrame, redacted
from .subscriptions import Channels

_NOT_LOGGED_IN = "30004", "User not logged in/User must be logged in"

STAMP_VALID = 30.0
"""Seconds for which a login is valid after its stamp, and by which a stamp may be ahead."""

_MILLISECONDS_FROM = 10**11
"""A stamp from here on is in milliseconds: in seconds it would be the year 5138."""

_FIRST_ORDER_ID = 1_376_000_000_000_000_001
"""The id of the first order that a client places."""

_GOING_AWAY = "Service upgrade in progress. Connection reset imminent. Please reconnect."


@set_module("bitget_proto.testing")
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


ScriptedOutput: TypeAlias = Transmit | Hangup | ConnectionDropped | Wait
"""What `ScriptedLink.poll` gives."""


@set_module("bitget_proto.testing")
class ScriptedExchange(_Behaves):
    """An exchange for tests: a book of live orders, and faults on request. `link` gives the far end of one WebSocket.

    `orders` are live at the start. With `credentials` a login is checked (key, passphrase, stamp, signature); without,
    any key is welcome. `epoch` is the wall clock, in seconds since 1970, at the moment that the caller calls 0.
    `refusals` are order ids and the codes (decimal strings other than "0") with which their cancels are refused. `late_by`
    is how many seconds late the fault LATE is, `grace` how many pass between the notice of GOING_AWAY and the drop.
    `cancels_per_second` is the allowance of the account over all links ("Rate limit will be shared with Rest API"),
    `same_order_interval` the seconds from one cancel of an order to the next (45129); None switches each off. `lenient` takes
    logins as clients in the wild send them: stamps as numbers or in milliseconds, `api_key`, keys that the page lacks; and it
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
        config = ExchangeConfig() if config is None else config
        self.config: ExchangeConfig = attrs.evolve(config, lenient=True) if lenient else config
        self.credentials = credentials
        self.epoch = epoch
        self.refusals: dict[str, str] = dict(refusals or {})
        self.late_by = late_by
        self.grace = grace
        self.log: list[Act] = []
        """What became of each cancel that was received, in the order received."""

        self.on_frame = on_frame
        self._book = Book(
            self.refusals, cancels_per_second, self.config.jitter or 0.0, same_order_interval
        )
        self._faults: deque[Fault | None] = deque()
        self._login_faults: deque[Fault | None] = deque()
        self._logins = Logins()
        self._handshakes: deque[tuple[int, int | None]] = deque()
        self._behaviour = Behaviour()
        self._numbers = 0
        self._placed = 0
        self._open: dict[ScriptedLink, None] = {}
        """The links that are open, in the order they were opened."""
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

    @property
    def links(self) -> tuple["ScriptedLink", ...]:
        """The links that are open, the eldest first."""
        return tuple(self._open)

    def place(self, order: CancelOrder) -> None:
        """Put a live order into the book, under each of its ids."""
        self._book.place(order)

    def inject(self, *faults: Fault | None) -> None:
        """Apply these to the coming cancels, one each, in the order they arrive; None leaves one alone.

        Raises: ValidationError for what is no `Fault`, and nothing has changed.
        """
        check_faults(faults, frozenset(Fault))
        self._faults.extend(faults)

    def inject_login(self, *faults: Fault | None) -> None:
        """Apply these to the coming logins, one each; None leaves one alone. With GOING_AWAY, THROTTLE and GARBAGE the
        notice, the error or the garbage comes first, and then the answer.

        Raises: ValidationError for a fault that a login cannot have, and nothing has changed.
        """
        check_faults(faults, AT_LOGIN)
        self._login_faults.extend(faults)

    def refuse_logins(self, n: int, code: str = "40015", *, stay: bool = False) -> None:
        """Refuse the next `n` logins with this code, whatever they say. Each is hung up on; with `stay` its socket is
        kept open.

        Raises: ValidationError for a count below 1 or a code that is no refusal's, and nothing has changed.
        """
        self._logins.refuse(n, code, stay=stay)

    def refuse_second_logins(self, code: str | None = "30005") -> None:
        """Refuse every login of an account that is logged in on another link, by its key; None lets them in again.

        Raises: ValidationError for a code that is no refusal's, and nothing has changed.
        """
        self._logins.second = None if code is None else refusal(code).code

    def refuse_handshakes(
        self, n: int, status: int = 429, *, retry_after: int | None = None
    ) -> None:
        """Refuse the next `n` WebSocket handshakes with this HTTP status and, if given, `Retry-After` in seconds.

        Raises: ValidationError for a count below 1, a status that is no refusal's or no number of seconds from 0 up, and
        nothing has changed.
        """
        if status not in {known.value for known in HTTPStatus if known >= HTTPStatus.BAD_REQUEST}:
            raise ValidationError(
                f"status must be an HTTP status of a refusal, such as 429; got {safe_repr(status)}"
            )
        if retry_after is not None and (
            isinstance(retry_after, bool) or not isinstance(retry_after, int) or retry_after < 0
        ):
            raise ValidationError(
                f"retry_after must be whole seconds from 0 up, or None; got {safe_repr(retry_after)}"
            )
        self._handshakes.extend([(status, retry_after)] * check_times(n))

    def maintenance(
        self,
        now: float,
        *,
        seconds: float | None = None,
        grace: float | None = None,
        codes: Iterable[str] | None = None,
        stay: bool = False,
    ) -> None:
        """Begin a maintenance window: every link is sent the notice 30033 now and dropped after `grace` seconds (those of
        the exchange by default), and logins are refused with these codes in turn: by default 45001, 40010,
        40725 and 40015, as seen around releases.

        It lasts for that many `seconds`, or until `end_maintenance`. Refused logins are hung up on; with `stay` their sockets
        are kept open. A cancel on a link that is not dropped yet is served.

        Raises: ValidationError for what is no number of seconds or no code of a refusal, LocalProtocolError for a `now`
        that is no finite number, and nothing has changed.
        """
        now = finite_time(now, -inf)
        if seconds is not None and not is_seconds(seconds):
            raise ValidationError(
                f"seconds must be a number above 0, or None; got {safe_repr(seconds)}"
            )
        grace = self.grace if grace is None else check_delay("grace", grace)
        self._logins.begin_maintenance(
            after(now, seconds), MAINTENANCE_CODES if codes is None else codes, stay=stay
        )
        for link in self.links:
            link._go_away(now, grace)
            link._news()

    def end_maintenance(self) -> None:
        """Let logins in again. Links that were sent the notice are dropped all the same."""
        self._logins.end_maintenance()

    def link(self) -> "ScriptedLink":
        """The exchange's end of a new WebSocket."""
        self._numbers += 1
        return ScriptedLink(self, self._numbers)

    def handshake(self) -> tuple[int, int | None] | None:
        """For a server: with which HTTP status and `Retry-After` the handshake that has just arrived is refused, if it is."""
        return self._handshakes.popleft() if self._handshakes else None

    # --- for the links ---

    def _behave(self, **changes: Any) -> None:
        self._behaviour = attrs.evolve(self._behaviour, **changes)
        for link in self.links:
            link._behave(**changes)

    def _next_fault(self, *, login: bool = False) -> Fault | None:
        """The fault of the request that has just arrived."""
        faults = self._login_faults if login else self._faults
        return faults.popleft() if faults else None

    def wall_clock(self, now: float) -> float:
        """Seconds since 1970."""
        return self.epoch + now

    def _refusal(self, login: SignedLogin, now: float) -> Refusal | None:
        """With what a login is refused; None when it is accepted."""
        if (asked := self._logins.refusal(now)) is not None:
            return asked
        if (wrong := self._why_not(login, now)) is not None:
            return Refusal(*wrong)
        if self._logins.second is not None and any(
            link.account == login.api_key and link.state is State.READY for link in self.links
        ):
            return refusal(self._logins.second)
        return None

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
        seconds: float = (
            int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 15 else inf
        )
        if seconds >= _MILLISECONDS_FROM and self.config.lenient:
            seconds /= 1000
        if seconds >= _MILLISECONDS_FROM:
            return "30013", "Invalid ACCESS_TIMESTAMP"
        if abs(self.wall_clock(now) - seconds) > STAMP_VALID:
            return "30014", "Timestamp expired"
        if login != sign_stamp(credentials, stamp):
            return "30015", "Invalid sign"
        return None

    def _act(
        self, id: str, order: CancelOrder, now: float, fault: Fault | None
    ) -> tuple[str, str, CancelOrder | None]:
        """Do what the cancel asks, as far as the book allows; the code and the words of the true answer, and what it did."""
        code, message, gone = self._book.cancel(order, now)
        self.log.append(
            Act(at=now, id=id, order=order, cancelled=gone is not None, code=code, fault=fault)
        )
        return code, message, gone

    def _take_placed(self, arg: dict[str, Any]) -> CancelOrder:
        """The order that a placement asks for, with an id of its own; `place` puts it into the book.

        Raises: ValidationError for a request that breaks the page, and nothing has changed.
        """
        while True:
            order = placed_order(arg, str(_FIRST_ORDER_ID + self._placed))
            self._placed += 1
            if not self._book.knows(
                CancelOrder(order.inst_id, order.order_id, inst_type=order.inst_type)
            ):
                return order

    def _push(self, order: CancelOrder, status: str, by: "ScriptedLink", now: float) -> None:
        """Send the order's new status to all who have subscribed to it."""
        for link in self.links:
            if link._push(order, status, now) and link is not by:
                link._news()


@set_module("bitget_proto.testing")
class ScriptedLink(_Behaves):
    """The far end of one WebSocket to a `ScriptedExchange`. Drive it like a `Connection`.

    What a client does on one link may be news on another, which has subscribed to it: set `on_news` to what drains this one.
    """

    def __init__(self, exchange: ScriptedExchange, number: int = 0) -> None:
        self.exchange = exchange
        self.number = number
        """Which link of its exchange it is, counted from 1."""

        self.account: str | None = None
        """The key that was logged in with."""

        self.on_news: Callable[[], object] | None = None
        self.connection: ExchangeConnection = ExchangeConnection(exchange.config)
        self._channels = Channels(lenient=exchange.config.lenient)
        self._outbox = Outbox(exchange._behaviour)
        self._asked: dict[str, Any] = {}
        """Which behaviour was asked of this link."""
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

    @property
    def silent(self) -> bool:
        """Whether it says nothing at present, as `go_silent` asks for."""
        return self._outbox.behaviour.silent

    def opened(self, now: float) -> None:
        """The client has connected."""
        self.connection.opened(now)
        if self.state is State.AUTHENTICATING:
            self.exchange._open[self] = None
            self._outbox.behaviour = attrs.evolve(self.exchange._behaviour, **self._asked)

    def receive(self, message: str | bytes, now: float) -> None:
        """The client said this."""
        if not self._outbox.behaviour.deaf:
            self._seen("received", message, now)
            self.connection.receive(message, now)

    def lost(self, now: float, reason: str = "") -> None:
        """The transport has ended."""
        self._leave()
        self.connection.lost(now, reason)
        self._outbox.end()

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """Hang up; code 1006 drops the transport without a close frame."""
        self._leave()
        self.connection.close(now, code, reason)

    def say(self, text: str, now: float) -> None:
        """Say anything: a push, a notice, garbage."""
        self.connection.say(text, now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed: what was put off until now happens."""
        if self.silent:
            return
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
        wait = self._collect(now)
        said = self._outbox.pop(now, writable=writable)
        if said is None:
            return (
                wait
                if (until := self._due(wait, writable=writable)) is None
                else Wait(until=until, timer=Timer.SCRIPT)
            )
        if isinstance(said, Transmit):
            self._seen("sent", said.text, now)
        return said

    # --- what it does ---

    def _collect(self, now: float) -> Wait:
        """Answer what was asked, and put into the outbox what is said to it; until when there is nothing else to do."""
        while not isinstance(output := self.connection.poll(now), Wait):
            if isinstance(output, LoginRequested):
                self._login(output.login, now)
            elif isinstance(output, CancelRequested):
                self._cancel(output.id, output.order, now)
            elif isinstance(output, OtherRequested):
                self._other(output, now)
            else:
                if isinstance(output, ConnectionDropped):
                    self._leave()
                self._outbox.put(output, now)
        return Wait(until=None, timer=None) if self.silent else output

    def _due(self, wait: Wait, *, writable: bool) -> float | None:
        """When the script goes on, if that is before the connection's own timers; else None."""
        due = self._outbox.due(writable=writable)
        if self._later and not self.silent:
            due = min(due, self._later[0][0])
        return due if due < (inf if wait.until is None else wait.until) else None

    def _behave(self, **changes: Any) -> None:
        self._asked |= changes
        self._outbox.behaviour = attrs.evolve(self._outbox.behaviour, **changes)
        if self.silent:
            self._outbox.forget()
        self._news()

    def _news(self) -> None:
        if self.on_news is not None:
            self.on_news()

    def _other(self, request: OtherRequested, now: float) -> None:
        if self.state is State.CLOSED:
            return
        ready = self.state is State.READY
        if request.op == "trade":
            self._place(placement_of(request.text), now) if ready else self._say_error(
                *_NOT_LOGGED_IN, now
            )
            return
        for answer in self._channels.answers(request.op, request.text, ready=ready):
            self.say(answer, now)

    def _place(self, arg: dict[str, Any], now: float) -> None:
        exchange_ts = self._exchange_ts(now)
        try:
            order = self.exchange._take_placed(arg)
        except ValidationError as error:
            self.say(
                encode_event("error", 30016, str(error), arg=[arg], exchange_ts=exchange_ts),
                now,
            )
            return
        if self.exchange._book.knows(order):
            self.say(
                encode_event(
                    "error", 40786, "Duplicate clientOid", arg=[arg], exchange_ts=exchange_ts
                ),
                now,
            )
            return
        self.exchange.place(order)
        self.say(encode_placed(arg["id"], order, exchange_ts), now)
        self.exchange._push(order, "live", self, now)

    def _push(self, order: CancelOrder, status: str, now: float) -> bool:
        """Say the pushes that this client has subscribed to; whether there were any."""
        if self.state is not State.READY:
            return False
        pushes = tuple(self._channels.pushes(order, status, self._exchange_ts(now)))
        for push in pushes:
            self.say(push, now)
        return bool(pushes)

    def _leave(self) -> None:
        self._later.clear()
        self.exchange._open.pop(self, None)

    def _seen(self, direction: Direction, message: str | bytes, now: float) -> None:
        if self.exchange.on_frame is not None:
            self.exchange.on_frame(
                SeenFrame(at=now, link=self.number, direction=direction, text=redacted(message))
            )

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
            self._go_away(now, self.exchange.grace)
        elif fault is Fault.THROTTLE:
            self._say_error("30006", "request too many", now)
        elif fault is Fault.GARBAGE:
            self.say("<html>", now)
        refused = self.exchange._refusal(login, now)
        if refused is None:
            self.account = login.api_key
            self.connection.accept_login(now)
        else:
            self.connection.refuse_login(refused.code, refused.message, now, stay=refused.stay)

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
            self.exchange._push(gone, "cancelled", self, now)
        self._answer(id, order, code, message, now, fault)
        if gone is not None and fault not in (Fault.PUSH_FIRST, Fault.NO_PUSH):
            self.exchange._push(gone, "cancelled", self, now)

    def _answer(
        self, id: str, order: CancelOrder, code: str, message: str, now: float, fault: Fault | None
    ) -> None:
        exchange_ts = self._exchange_ts(now)
        encode = encode_reply
        if fault is Fault.UNSURE:
            code, message = "40010", "Request timed out"
        if fault in KEPT_BACK:
            self.connection.forget(id, now)
        answer = (
            ""
            if fault is None
            else encode(order, id, code=int(code), message=message, exchange_ts=exchange_ts)
        )
        match fault:
            case Fault.SILENT:
                pass
            case Fault.LATE:
                self._put_off(now + self.exchange.late_by, answer)
            case Fault.GARBAGE:
                self.say("\x00\x1b[2Jnot json", now)
            case Fault.WRONG_TYPES:
                self.say(
                    answer.replace(f'"id":"{id}"', '"id":7').replace(
                        f'"code":{code}', '"code":true'
                    ),
                    now,
                )
            case Fault.UNKNOWN_ID:
                self.say(
                    encode(
                        order,
                        f"{id[:38]}:x",
                        code=int(code),
                        message=message,
                        exchange_ts=exchange_ts,
                    ),
                    now,
                )
            case Fault.NO_ARG:
                self._say_error("30016", "Param error", now)
            case Fault.DROP_AFTER:
                self.close(now, ABORT, fault.value)
            case _:
                if fault is Fault.GOING_AWAY:
                    self._go_away(now, self.exchange.grace)
                if code == "0":
                    self.connection.accept(id, now, exchange_ts=exchange_ts)
                else:
                    self.connection.refuse(id, code, message, now, exchange_ts=exchange_ts)
                if fault is Fault.DUPLICATE:
                    self.say(answer, now)

    def _go_away(self, now: float, grace: float) -> None:
        if self.state is State.CLOSED:
            return
        self._say_error("30033", _GOING_AWAY, now)
        self._put_off(now + grace, Hangup(code=ABORT, reason=Fault.GOING_AWAY.value))

    def _say_error(self, code: str, message: str, now: float) -> None:
        self.say(encode_event("error", int(code), message), now)

    def _put_off(self, at: float, what: str | Hangup) -> None:
        self._count += 1
        heapq.heappush(self._later, (at, self._count, what))
