"""A scripted exchange for tests: a book of orders, with faults on request.

- Without a fault it behaves as the exchange's documentation says: it acts on a cancel once, answers
  once, and the answer is true of its book.
- A setting of the exchange applies to all of its links, later ones included; a setting of a link
  applies to that link alone.
- A fault is requested by name and applies to one request. Nothing is random.
- `log` records what each cancel did to the book, so that a test can compare outcomes with it.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, TypeAlias

import attrs

from ..._machine.deadlines import finite_time
from ..._values.credentials import Credentials, SignedLogin
from ..._values.errors import check_part
from ..._values.events import Hangup, Transmit, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from ..._values.timers import Timer
from ..._wire.exchange_codec import encode_event
from .answers import Sent, answers, going_away
from .behaviour import Behaviour, Outbox, _BehaviourCommands, check_delay
from .delayed import Delayed
from .exchange_config import ExchangeConfig
from .exchange_connection import ExchangeConnection, check_refusal
from .exchange_events import (
    ABORT,
    BatchRequested,
    CancelRequested,
    ConnectionDropped,
    LoginRequested,
    OtherRequested,
)
from .faults import AT_LOGIN, Fault, FaultQueue, RestFault
from .handshakes import Handshakes
from .logins import Logins, Refusal, invalid_login, refusal
from .order_book import SAME_ORDER_INTERVAL, Book, BookOrder
from .placed_orders import check_amount
from .rest_api import RestApi
from .seen_frames import Direction, SeenFrame, redacted
from .subscriptions import Channels
from .trading import Act, Trading

_NOT_LOGGED_IN = "30004", "User not logged in/User must be logged in"

ScriptedOutput: TypeAlias = Transmit | Hangup | ConnectionDropped | Wait
"""What `ScriptedLink.poll` returns."""


@set_module("bitget_proto.testing")
class ScriptedExchange(_BehaviourCommands):
    """An exchange for tests: a book of live orders, with faults on request.

    `link` returns the exchange's end of one WebSocket. `orders` are live at the start.

    - `credentials`: logins are checked against them (key, passphrase, timestamp, signature).
      Without credentials every login is accepted.
    - `epoch`: the wall clock at `now` 0, in seconds since 1970.
    - `refusals`: maps order ids to the codes (decimal strings other than "0") with which their
      cancels are refused.
    - `cancels_per_second`: the account's rate limit over all links ("Rate limit will be shared with
      Rest API"); None switches it off.
    - `batches_per_second`: the account's limit of batches, whose orders then do not count as
      cancels; None, the default, counts their orders. The exchange does not say which is right.
    - `tells_limits`: whether answers of a unified account say how many more cancels it may send
      (`rateLimit`).
    - `same_order_interval`: the minimum seconds between two cancels of the same order (45129); None
      switches it off.
    - `late_by`: how many seconds late the answer is with the fault LATE.
    - `grace`: the seconds between the notice of the fault GOING_AWAY and the drop.
    - `lenient`: accept logins as existing clients send them (timestamps as numbers or in
      milliseconds, `api_key`, undocumented keys), and acknowledge subscriptions to any channel.
    - `on_frame`: called with every message that is received or sent, with secrets removed.

    Raises: ValidationError for `credentials` or a `config` of the wrong type, and for a code in
    `refusals` that is not a refusal's.
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
        batches_per_second: int | None = None,
        tells_limits: bool = False,
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
        self.tells_limits = tells_limits
        self.on_frame = on_frame
        self._book = Book(
            self.refusals,
            cancels_per_second,
            self.config.jitter or 0.0,
            same_order_interval,
            self.config.dialect,
            batches_per_second,
        )
        self._trading = Trading(
            self._book, self.config.dialect, lambda placed, now: self._push(placed, None, now)
        )
        self.log: list[Act] = self._trading.log
        """One entry per cancel that the exchange acted on or refused, in the order received."""

        self._faults = FaultQueue(frozenset(Fault))
        self._login_faults = FaultQueue(AT_LOGIN)
        self._logins = Logins()
        self._handshakes = Handshakes()
        self._behaviour = Behaviour()
        self.rest_behind: float = 0.0
        """How many seconds the orders that REST shows are behind the book."""
        self.countdown_ends: float | None = None
        """When all orders are cancelled unless the countdown is renewed (REST, unified accounts);
        None while it is off."""
        self._rest_api = RestApi(self, self._book, self._trading.cancel_by_rest)
        self._numbers = 0
        self._open: dict[ScriptedLink, None] = {}
        """The open links, in the order they were opened."""
        for code in self.refusals.values():
            check_refusal(code)
        for order in orders:
            self.place(order)

    def __repr__(self) -> str:
        coming = len(self._faults) + len(self._login_faults)
        return f"<ScriptedExchange {len(self.live)} live, {len(self.log)} in the log, {coming} faults to come>"

    @property
    def live(self) -> tuple[CancelOrder, ...]:
        """The live orders, in the order they were placed."""
        return self._book.live

    @property
    def links(self) -> tuple["ScriptedLink", ...]:
        """The open links, oldest first."""
        return tuple(self._open)

    def place(self, order: CancelOrder, *, size: str = "1", price: str = "100") -> None:
        """Add a live order to the book, under each of its ids.

        Raises: ValidationError for a size or a price that is not a decimal number above 0.
        """
        self._book.place(order, check_amount("size", size), check_amount("price", price))

    def fill(self, order: CancelOrder, now: float, quantity: str | None = None) -> None:
        """Fill a live order, completely or by `quantity`, and push its new state.

        Raises: ValidationError if no live order has this name, or if `quantity` is not a decimal
        number above 0, or more than is left; LocalProtocolError for a `now` that is not a finite
        number. Nothing changes then.
        """
        self._trading.fill(order, finite_time(now, -inf), quantity)

    def inject(self, *faults: Fault | None) -> None:
        """Apply these faults to the next cancels, one each, in order of arrival; None is no fault.

        Raises: ValidationError for a value that is not a `Fault`; nothing changes then.
        """
        self._faults.add(faults)

    def inject_rest(self, *faults: RestFault | None) -> None:
        """Apply these faults to the next REST requests, one each; None is no fault.

        Raises: ValidationError for a value that is not a `RestFault`; nothing changes then.
        """
        self._rest_api.faults.add(faults)

    def inject_login(self, *faults: Fault | None) -> None:
        """Apply these faults to the next logins, one each; None is no fault.

        With GOING_AWAY, THROTTLE and GARBAGE, the notice, the error or the garbage comes before the
        answer.

        Raises: ValidationError for a fault that does not apply to logins; nothing changes then.
        """
        self._login_faults.add(faults)

    def refuse_logins(self, n: int, code: str = "40015", *, stay: bool = False) -> None:
        """Refuse the next `n` logins with this code, whatever they contain.

        The exchange closes the connection after each refusal, unless `stay` is true.

        Raises: ValidationError for a count below 1 or a code that is not a refusal's; nothing
        changes then.
        """
        self._logins.refuse(n, code, stay=stay)

    def refuse_second_logins(self, code: str | None = "30005") -> None:
        """Refuse logins with an API key that is logged in on another link; None accepts them again.

        Raises: ValidationError for a code that is not a refusal's; nothing changes then.
        """
        self._logins.second = None if code is None else refusal(code).code

    def refuse_handshakes(
        self, n: int, status: int = 429, *, retry_after: int | None = None
    ) -> None:
        """Refuse the next `n` WebSocket handshakes with this HTTP status.

        `retry_after`, in seconds, is sent as `Retry-After`.

        Raises: ValidationError for a count below 1, a `status` that is not an HTTP error, or a
        `retry_after` that is not a whole number from 0 up; nothing changes then.
        """
        self._handshakes.refuse(n, status, retry_after)

    def maintenance(
        self,
        now: float,
        *,
        seconds: float | None = None,
        grace: float | None = None,
        codes: Iterable[str] | None = None,
        stay: bool = False,
    ) -> None:
        """Begin a maintenance window of `seconds`, or until `end_maintenance` is called.

        Every open link gets the notice 30033 now and is dropped after `grace` seconds (by default
        the exchange's own `grace`). Until then it is served as usual. Logins are refused with
        `codes` in turn: by default 45001, 40010, 40725 and 40015, as observed around releases. The
        exchange closes the connection after a refused login, unless `stay` is true.

        Raises: ValidationError for an invalid number of seconds or a code that is not a refusal's;
        LocalProtocolError for a `now` that is not a finite number. Nothing changes then.
        """
        now = finite_time(now, -inf)
        grace = self.grace if grace is None else check_delay("grace", grace)
        self._logins.begin_maintenance(now, seconds, codes, stay=stay)
        for link in self.links:
            link._go_away(now, grace)
            link._news()

    def end_maintenance(self) -> None:
        """Accept logins again. Links that got the notice are still dropped."""
        self._logins.end_maintenance()

    def link(self) -> "ScriptedLink":
        """Return the exchange's end of a new WebSocket."""
        self._numbers += 1
        return ScriptedLink(self, self._numbers)

    def rest(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> tuple[int, bytes] | None:
        """Return the HTTP status and the body for a REST request; None to cut its connection.

        `target` is the path with its query. `headers` have names in lower case. Never raises for
        the content of a request.
        """
        now = finite_time(now, -inf)
        self.handle_timeout(now)
        ends = self.countdown_ends
        answer = self._rest_api.answer(method, target, headers, body, now)
        if self.countdown_ends != ends:
            for link in self.links:
                link._news()  # it wakes up at another time
        return answer

    def handle_timeout(self, now: float) -> None:
        """Cancel all orders if the countdown has ended, and push their end. The countdown is off
        then.

        Links call this too. Call it when `countdown_ends` is due, if no link may be open.

        Raises: LocalProtocolError for a `now` that is not a finite number.
        """
        ends = self.countdown_ends
        if ends is not None and ends <= finite_time(now, -inf):
            self.countdown_ends = None
            for placed in self._book.cancel_all(ends):
                self._push(placed, None, now)

    def handshake(self) -> tuple[int, int | None] | None:
        """Return the HTTP status and `Retry-After` for refusing a handshake, or None to accept it.

        A server calls this once for each handshake that arrives.
        """
        return self._handshakes.pop()

    # --- for the links ---

    def _behave(self, **changes: Any) -> None:
        self._behaviour = attrs.evolve(self._behaviour, **changes)
        for link in self.links:
            link._behave(**changes)

    def wall_clock(self, now: float) -> float:
        """Return the wall clock at `now`, in seconds since 1970."""
        return self.epoch + now

    def _refusal(self, login: SignedLogin, now: float) -> Refusal | None:
        """Return the refusal of a login, or None when it is accepted."""
        if (scripted := self._logins.refusal(now)) is not None:
            return scripted
        wrong = None
        if self.credentials is not None:
            wrong = invalid_login(
                login, self.credentials, self.wall_clock(now), lenient=self.config.lenient
            )
        if wrong is not None:
            return wrong
        if self._logins.second is not None and any(
            link.account == login.api_key and link.state is State.READY for link in self.links
        ):
            return refusal(self._logins.second)
        return None

    def _push(self, placed: BookOrder, by: "ScriptedLink | None", now: float) -> None:
        """Send the order's new state to all links that have subscribed to it."""
        for link in self.links:
            if link._push(placed, now) and link is not by:
                link._news()


@set_module("bitget_proto.testing")
class ScriptedLink(_BehaviourCommands):
    """The exchange's end of one WebSocket to a `ScriptedExchange`. Drive it like a `Connection`.

    A request on one link may cause a push on another. Set `on_news` to a function that drains this
    link. It is called whenever the link may have output that none of your own calls on it caused.
    """

    def __init__(self, exchange: ScriptedExchange, number: int = 0) -> None:
        self.exchange = exchange
        self.number = number
        """The number of this link, counted from 1."""

        self.account: str | None = None
        """The API key that was used to log in."""

        self.on_news: Callable[[], object] | None = None
        self.connection: ExchangeConnection = ExchangeConnection(exchange.config)
        self._channels = Channels(exchange.config.dialect, lenient=exchange.config.lenient)
        self._outbox = Outbox(exchange._behaviour)
        self._behaviour_changes: dict[str, Any] = {}
        """The behaviour that was set for this link."""
        self._delayed = Delayed()
        self._now: float = 0.0

    def __repr__(self) -> str:
        return f"<ScriptedLink {self.state.value}>"

    @property
    def state(self) -> State:
        """The state of this end of the connection."""
        return self.connection.state

    @property
    def silent(self) -> bool:
        """Whether the link is silent, after `go_silent`."""
        return self._outbox.behaviour.silent

    def opened(self, now: float) -> None:
        """Handle a connection from the client."""
        self.connection.opened(now)
        if self.state is State.AUTHENTICATING:
            self.exchange._open[self] = None
            self._outbox.behaviour = attrs.evolve(
                self.exchange._behaviour, **self._behaviour_changes
            )

    def receive(self, message: str | bytes, now: float) -> None:
        """Handle a message from the client."""
        self.exchange.handle_timeout(now)
        if not self._outbox.behaviour.deaf:
            self._seen("received", message, now)
            self.connection.receive(message, now)

    def lost(self, now: float, reason: str = "") -> None:
        """Handle the end of the transport."""
        self._leave()
        self.connection.lost(now, reason)
        self._outbox.end()

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Code 1006 drops the transport without a close frame."""
        self._leave()
        self.connection.close(now, code, reason)

    def say(self, text: str, now: float) -> None:
        """Send any text: a push, a notice, garbage."""
        self.connection.say(text, now)

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due, and do what was put off until now."""
        self.exchange.handle_timeout(now)
        if self.silent:
            return
        self.connection.handle_timeout(now)
        while self._delayed.due <= now:
            what = self._delayed.pop()
            if self.state is not State.CLOSED:
                self._send(what, now)

    def poll(self, now: float, writable: bool = True) -> ScriptedOutput:
        """Return the next output. Call it after every other call, until it returns a `Wait`."""
        self._now = now = finite_time(now, self._now)
        wait = self._collect(now)
        output = self._outbox.pop(now, writable=writable)
        if output is None:
            return (
                wait
                if (until := self._due(wait, writable=writable)) is None
                else Wait(until=until, timer=Timer.SCRIPT)
            )
        if isinstance(output, Transmit):
            self._seen("sent", output.text, now)
        return output

    # --- requests and answers ---

    def _collect(self, now: float) -> Wait:
        """Handle all requests, move output to the outbox, and return the connection's own wait."""
        while not isinstance(output := self.connection.poll(now), Wait):
            if isinstance(output, LoginRequested):
                self._login(output.login, now)
            elif isinstance(output, (CancelRequested, BatchRequested)):
                self._cancel(output, now)
            elif isinstance(output, OtherRequested):
                self._other(output, now)
            else:
                if isinstance(output, ConnectionDropped):
                    self._leave()
                self._outbox.put(output, now)
        return Wait(until=None, timer=None) if self.silent else output

    def _due(self, wait: Wait, *, writable: bool) -> float | None:
        """Return when the script is due, or None when the connection's own timer is due first."""
        due = self._outbox.due(writable=writable)
        ends = self.exchange.countdown_ends
        if ends is not None and self in self.exchange._open:
            due = min(due, ends)
        if not self.silent:
            due = min(due, self._delayed.due)
        return due if due < (inf if wait.until is None else wait.until) else None

    def _behave(self, **changes: Any) -> None:
        self._behaviour_changes |= changes
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
        if request.op != "trade":
            for answer in self._channels.answers(request.op, request.text, ready=ready):
                self.say(answer, now)
        elif not ready:
            self._say_error(*_NOT_LOGGED_IN, now)
        else:
            answer, placed = self.exchange._trading.place(request.text, now, self._exchange_ts(now))
            self.say(answer, now)
            if placed is not None:
                self.exchange._push(placed, self, now)

    def _push(self, placed: BookOrder, now: float) -> bool:
        """Send the pushes that this client has subscribed to; return whether there were any."""
        if self.state is not State.READY:
            return False
        pushes = tuple(self._channels.pushes(placed, self._exchange_ts(now)))
        for push in pushes:
            self.say(push, now)
        return bool(pushes)

    def _leave(self) -> None:
        self._delayed.clear()
        self.exchange._open.pop(self, None)

    def _seen(self, direction: Direction, message: str | bytes, now: float) -> None:
        if self.exchange.on_frame is not None:
            self.exchange.on_frame(
                SeenFrame(at=now, link=self.number, direction=direction, text=redacted(message))
            )

    def _exchange_ts(self, now: float) -> int:
        return int(self.exchange.wall_clock(now) * 1000)

    def _login(self, login: SignedLogin, now: float) -> None:
        fault = self.exchange._login_faults.pop()
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

    def _cancel(self, request: CancelRequested | BatchRequested, now: float) -> None:
        fault = self.exchange._faults.pop()
        if self.state is State.CLOSED:
            return
        if fault is Fault.DROP_BEFORE:
            self.close(now, ABORT, fault.value)
            return
        self.connection.forget(request.id, now)
        if fault is Fault.THROTTLE:
            self._say_error("30006", "request too many", now)
            return
        exchange, trading = self.exchange, self.exchange._trading
        stamp, tells = self._exchange_ts(now), exchange.tells_limits
        encode, gone = (
            trading.cancel(request, now, fault, stamp, tells_limits=tells)
            if isinstance(request, CancelRequested)
            else trading.cancel_batch(request, now, fault, stamp, tells_limits=tells)
        )
        if fault is Fault.PUSH_FIRST:
            self._push_cancelled(gone, now)
        self._send_all(
            answers(fault, request.id, encode, late_by=exchange.late_by, grace=exchange.grace), now
        )
        if fault not in (Fault.PUSH_FIRST, Fault.NO_PUSH, Fault.PUSH_LATE):
            self._push_cancelled(gone, now)
        if fault is Fault.PUSH_TWICE:
            self._push_cancelled(gone, now)
        elif fault is Fault.PUSH_LATE:
            self._push_late(gone, now)

    def _push_cancelled(self, orders: list[BookOrder], now: float) -> None:
        for placed in orders:
            self.exchange._push(placed, self, now)

    def _push_late(self, orders: list[BookOrder], now: float) -> None:
        """Put off the pushes to all links."""
        late_by = self.exchange.late_by
        for link in self.exchange.links:
            for placed in orders:
                for push in link._channels.pushes(placed, self._exchange_ts(now)):
                    link._delayed.put(now + late_by, push)
            if link is not self:
                link._news()

    def _go_away(self, now: float, grace: float) -> None:
        if self.state is not State.CLOSED:
            self._send_all(going_away(grace), now)

    def _say_error(self, code: str, message: str, now: float) -> None:
        self.say(encode_event("error", int(code), message), now)

    def _send_all(self, items: Iterable[Sent], now: float) -> None:
        """Do what is due now, and put off the rest."""
        for seconds, what in items:
            if seconds is None:
                self._send(what, now)
            else:
                self._delayed.put(now + seconds, what)

    def _send(self, what: str | Hangup, now: float) -> None:
        if isinstance(what, Hangup):
            self.connection.close(now, what.code, what.reason)
        else:
            self.connection.say(what, now)
