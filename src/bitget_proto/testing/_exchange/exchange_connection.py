"""The exchange's side of one WebSocket, as the exchange's documentation describes it.

- Messages are checked strictly against the documentation, and refused with the codes documented
  there.
- No decision about orders or keys is made here. A well-formed login or cancel is emitted as an
  event, and the caller answers it with a command.
- A faulty exchange is simulated from outside, with `say` or `close`.
- Like the client's side, it reads no clock, and all output is returned by `poll`.
"""

from collections import deque
from collections.abc import Iterable
from math import inf

from ..._machine.deadlines import after, finite_time
from ..._machine.rate_limit import SlidingWindow
from ..._values.dialects import Dialect
from ..._values.errors import LocalProtocolError, ValidationError, check_part, safe_repr
from ..._values.events import Hangup, Transmit, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from ..._values.timers import Timer
from ..._wire.codec import PONG
from ..._wire.exchange_codec import (
    decode_request,
    encode_batch_reply,
    encode_event,
    encode_refusal,
    encode_reply,
)
from ..._wire.message_limits import as_text
from ..._wire.requests import (
    BadRequest,
    BatchRequest,
    CancelRequest,
    LoginRequest,
    OtherRequest,
    Ping,
)
from .exchange_config import ExchangeConfig
from .exchange_events import (
    BatchRequested,
    CancelRequested,
    ConnectionDropped,
    ExchangeOutput,
    LoginRequested,
    OtherRequested,
    WhyDropped,
)

LENIENT_HINT = "; lenient=True accepts this form"
"""The end of the message about a request whose form only a lenient exchange accepts."""


@set_module("bitget_proto.testing")
class ExchangeConnection:
    """The exchange's side of one WebSocket.

    Drive it like a `Connection`: after every call, call `poll` until it returns a `Wait`. `now` is
    in seconds on any monotonic clock; a `now` below the previous one counts as the previous one.
    Every call raises LocalProtocolError for a `now` that is not a finite number; nothing changes
    then. Not thread-safe.

    Raises: ValidationError for a `config` that is not an ExchangeConfig.
    """

    __slots__ = (
        "_config", "_idle_at", "_in_flight", "_lifetime_at", "_login_due", "_now", "_outputs", "_pace",
        "_state", "_unwritten",
    )  # fmt: skip

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        check_part("config", config, ExchangeConfig)
        self._config = ExchangeConfig() if config is None else config
        self._state = State.NEW
        self._now: float = -inf
        self._pace = SlidingWindow(self._config.messages_per_second)
        self._login_due = False
        self._in_flight: dict[str, CancelRequest | BatchRequest] = {}
        self._outputs: deque[ExchangeOutput] = deque()
        self._unwritten: deque[Transmit] = deque()
        self._idle_at = self._lifetime_at = inf

    def __repr__(self) -> str:
        return f"<ExchangeConnection {self._state.value}, {len(self._in_flight)} in flight>"

    @property
    def state(self) -> State:
        """The connection's state: AUTHENTICATING until a login is accepted; never DRAINING."""
        return self._state

    @property
    def in_flight(self) -> int:
        """The number of unanswered requests to cancel."""
        return len(self._in_flight)

    # --- events from the transport ---

    def opened(self, now: float) -> None:
        """Handle a connection from a client. Ignored after the end.

        Raises: LocalProtocolError when it was called before; nothing changes then.
        """
        now = finite_time(now, self._now)
        if self._state not in (State.NEW, State.CLOSED):
            raise LocalProtocolError(
                "opened was called before: an ExchangeConnection is for one WebSocket, so make another one"
            )
        self._now = now
        if self._state is State.NEW:
            self._state = State.AUTHENTICATING
            self._idle_at = after(now, self._config.ping_timeout)
            self._lifetime_at = after(now, self._config.lifetime)

    def receive(self, message: str | bytes, now: float) -> None:
        """Handle a complete message from the client.

        Never raises for the content of a message. Ignored before `opened` and after the end.

        Raises: ValidationError when `message` is neither text nor bytes; nothing changes then.
        """
        now = finite_time(now, self._now)
        if not isinstance(message, (str, bytes)):
            raise ValidationError(f"message must be str or bytes; got {safe_repr(message)}")
        self._now = now
        if self._state is State.NEW or self._state is State.CLOSED:
            return
        soon = now + (self._config.jitter or 0.0)
        if self._pace.allowed_at() > soon:
            self._say_error("30007", "request too many")
            self._end(WhyDropped.TOO_MANY_MESSAGES, "")
            return
        self._pace.take(now)
        config = self._config
        request = decode_request(
            message,
            max_message=config.max_message,
            max_depth=config.max_depth,
            lenient=config.lenient,
            dialect=config.dialect,
        )
        ready = self._state is State.READY
        if isinstance(request, Ping):
            self._idle_at = after(now, self._config.ping_timeout)
            self._transmit(PONG)
        elif isinstance(request, (CancelRequest, BatchRequest)):
            self._cancel_requested(request) if ready else self._say_not_logged_in()
        elif isinstance(request, LoginRequest):
            if ready or self._login_due:
                self._say_error("30002", "one login per connection")
            else:
                self._login_due = True
                self._outputs.append(LoginRequested(login=request.login))
        elif isinstance(request, OtherRequest):
            self._outputs.append(OtherRequested(op=request.op, text=as_text(message)))
        elif isinstance(request, BadRequest):
            if request.arg is not None and not ready:
                self._say_not_logged_in()
            else:
                hint = "" if config.lenient else _lenient_hint(message, config.dialect)
                self._say_error(request.code, request.message + hint, request.arg)
        else:
            self._say_error("30002", f"illegal request: {request.reason}")

    def lost(self, now: float, reason: str = "") -> None:
        """Handle the loss of the transport. Ignored after the end."""
        self._now = finite_time(now, self._now)
        if self._state is not State.CLOSED:
            self._end(WhyDropped.CLIENT_LEFT, reason)

    def handle_timeout(self, now: float) -> None:
        """End the connection if a timer has expired. Early, late or repeated calls are harmless."""
        self._now = now = finite_time(now, self._now)
        if now >= self._idle_at and self._idle_at <= self._lifetime_at:
            self._end(WhyDropped.NO_PING, f"no ping for {self._config.ping_timeout} s")
        elif now >= self._lifetime_at:
            self._end(WhyDropped.TOO_OLD, f"{self._config.lifetime} s old")

    # --- commands ---

    def accept_login(self, now: float) -> None:
        """Accept the login.

        Raises: LocalProtocolError when no login waits for an answer; nothing changes then.
        """
        now = self._check_login_due(now)
        self._now = now
        self._login_due = False
        self._state = State.READY
        self._transmit(encode_event("login", 0, None))

    def refuse_login(self, code: str, message: str, now: float, *, stay: bool = False) -> None:
        """Refuse the login with an `event: "error"`.

        The connection then ends, as documented. With `stay`, the socket stays open, as has been
        observed.

        Raises: LocalProtocolError when no login waits for an answer; ValidationError for a code
        that is not a refusal code. Nothing changes then.
        """
        now = self._check_login_due(now)
        check_refusal(code)
        self._now = now
        self._login_due = False
        self._say_error(code, message)
        if not stay:
            self._end(WhyDropped.LOGIN_REFUSED, message)

    def accept(
        self,
        id: str,
        now: float,
        *,
        exchange_ts: int | None = None,
        order: CancelOrder | None = None,
    ) -> None:
        """Accept a cancel.

        `order` is the cancelled order: for a unified account, the answer names both of its ids. By
        default, the answer names the ids of the request.

        Raises: LocalProtocolError when no cancel with this id waits for an answer; nothing changes
        then.
        """
        self._answer(id, now, "0", "Success", exchange_ts, order)

    def answer_batch(
        self,
        id: str,
        items: Iterable[tuple[CancelOrder, str, str]],
        now: float,
        *,
        exchange_ts: int | None = None,
    ) -> None:
        """Answer a batch: each item is an order with the code and the message for it.

        Raises: LocalProtocolError when no batch with this id waits for an answer; nothing changes
        then.
        """
        text = encode_batch_reply(items, id, exchange_ts)
        self.forget(id, now)
        self._transmit(text)

    def refuse(
        self, id: str, code: str, message: str, now: float, *, exchange_ts: int | None = None
    ) -> None:
        """Refuse a cancel, or a batch as a whole, with this code (a decimal string other than "0").

        Raises: LocalProtocolError when no cancel with this id waits for an answer; ValidationError
        for a code that is not a refusal code. Nothing changes then.
        """
        check_refusal(code)
        self._answer(id, now, code, message, exchange_ts)

    def forget(self, id: str, now: float) -> None:
        """Leave a cancel unanswered, as a faulty exchange would.

        Raises: LocalProtocolError when no cancel with this id waits for an answer; nothing changes
        then.
        """
        now = finite_time(now, self._now)
        self._check_waits(id)
        self._now = now
        del self._in_flight[id]

    def say(self, text: str, now: float) -> None:
        """Send any other text: a push, a notice, garbage. It does not count as an answer.

        Raises: LocalProtocolError when the connection is not open; nothing changes then.
        """
        now = finite_time(now, self._now)
        self._check_open()
        self._now = now
        self._transmit(text)

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """End the connection. Messages sent before are still written, followed by the hangup.

        Code 1006 ends the transport without a close frame. Ignored after the end.
        """
        self._now = finite_time(now, self._now)
        if self._state is not State.CLOSED:
            self._end(WhyDropped.ASKED, reason, code)

    # --- output ---

    def poll(self, now: float, writable: bool = True) -> ExchangeOutput:
        """Return the next output. Call it after every other call, until it returns a `Wait`.

        With `writable=False`, while a write is in progress, it returns no `Transmit`. `Hangup` and
        `ConnectionDropped` are returned after all messages.
        """
        self._now = finite_time(now, self._now)
        if self._unwritten and writable:
            return self._unwritten.popleft()
        if self._outputs and not (
            self._unwritten and isinstance(self._outputs[0], Hangup | ConnectionDropped)
        ):
            return self._outputs.popleft()
        if self._idle_at <= self._lifetime_at and self._idle_at < inf:
            return Wait(until=self._idle_at, timer=Timer.IDLE)
        if self._lifetime_at < inf:
            return Wait(until=self._lifetime_at, timer=Timer.LIFETIME)
        return Wait(until=None, timer=None)

    # --- private ---

    def _cancel_requested(self, request: CancelRequest | BatchRequest) -> None:
        limit = self._config.max_in_flight
        if request.id in self._in_flight:
            self._transmit(self._reply(request, 30016, "the id is in flight"))
        elif limit is not None and len(self._in_flight) >= limit:
            self._say_error("30006", "request too many")
        else:
            self._in_flight[request.id] = request
            self._outputs.append(
                CancelRequested(id=request.id, order=request.order)
                if isinstance(request, CancelRequest)
                else BatchRequested(id=request.id, orders=request.orders)
            )

    def _answer(
        self,
        id: str,
        now: float,
        code: str,
        message: str,
        exchange_ts: int | None,
        order: CancelOrder | None = None,
    ) -> None:
        now = finite_time(now, self._now)
        self._check_open()
        self._check_waits(id)
        self._now = now
        asked = self._in_flight.pop(id)
        if order is not None and self._config.dialect is Dialect.UNIFIED:
            asked = CancelRequest(id, order)  # classic accounts echo the request
        self._transmit(self._reply(asked, int(code), message, exchange_ts))

    def _reply(
        self,
        asked: CancelRequest | BatchRequest,
        code: int,
        message: str,
        exchange_ts: int | None = None,
    ) -> str:
        return encode_reply(
            asked.order if isinstance(asked, CancelRequest) else asked.orders[0],
            asked.id,
            code=code,
            message=message,
            exchange_ts=exchange_ts,
            dialect=self._config.dialect,
        )

    def _check_open(self) -> None:
        if self._state is State.NEW or self._state is State.CLOSED:
            what = "call opened first" if self._state is State.NEW else "use another one"
            raise LocalProtocolError(
                f"the connection is {self._state.value}, so nothing can be sent on it: {what}"
            )

    def _check_waits(self, id: str) -> None:
        if id not in self._in_flight:
            raise LocalProtocolError(
                f"no cancel with the id {safe_repr(id)} waits for an answer: answer each CancelRequested once"
            )

    def _check_login_due(self, now: float) -> float:
        now = finite_time(now, self._now)
        self._check_open()
        if not self._login_due:
            raise LocalProtocolError(
                "no login waits for an answer: answer each LoginRequested once"
            )
        return now

    def _say_not_logged_in(self) -> None:
        self._say_error("30004", "User not logged in/User must be logged in")

    def _say_error(self, code: str, message: str, arg: object = None) -> None:
        self._transmit(
            encode_refusal(arg, code, message)
            if isinstance(arg, str)
            else encode_event("error", int(code), message, arg=arg)
        )

    def _transmit(self, text: str) -> None:
        self._unwritten.append(Transmit(text))

    def _end(self, why: WhyDropped, detail: str, code: int = 1000) -> None:
        self._state = State.CLOSED
        self._login_due = False
        self._in_flight.clear()
        self._idle_at = self._lifetime_at = inf
        if why is WhyDropped.CLIENT_LEFT:
            self._unwritten.clear()
        else:
            self._outputs.append(Hangup(code=code, reason=detail or why.value))
        self._outputs.append(ConnectionDropped(why=why, detail=detail))


def _lenient_hint(message: str | bytes, dialect: Dialect) -> str:
    """Return `LENIENT_HINT` for a request that is readable only with `ExchangeConfig.lenient`."""
    request = decode_request(message, lenient=True, dialect=dialect)
    readable = isinstance(request, (LoginRequest, CancelRequest, BatchRequest))
    return LENIENT_HINT if readable else ""


def check_refusal(code: object) -> None:
    """Check that `code` can be the code of a refusal.

    Raises: ValidationError when it is not a decimal string other than "0".
    """
    if not (isinstance(code, str) and code.isascii() and code.isdigit() and int(code)):
        raise ValidationError(
            f"code must be a decimal string other than '0', such as '43001'; got {safe_repr(code)}"
        )
