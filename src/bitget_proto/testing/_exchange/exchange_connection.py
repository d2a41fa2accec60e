"""The exchange's side of one WebSocket: what a faultless exchange that keeps to its page would check and answer.

Rules of this file
- Strict by the page: what a client says is checked, and refused with the code that the exchange documents for it.
- No decision about orders or keys is made here. A login or a cancel that is well formed comes out as an event, and its
  driver answers with a command.
- Faults are not its business: they are said with `say`, or by hanging up.
- Like the client's side it reads no clock and has one way out, `poll`.

It does not know orders, keys, other connections, sockets or any clock.
"""

from collections import deque
from math import inf
from typing import TypeAlias

import attrs

from ..._machine.connection_config import check_count, check_flag, check_seconds
from ..._machine.deadlines import after, finite_time
from ..._machine.rate_limit import Pace
from ..._values.credentials import SignedLogin
from ..._values.enums import DescribedEnum
from ..._values.errors import LocalProtocolError, ValidationError, check_part, safe_repr
from ..._values.events import Hangup, Transmit, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._values.states import State
from ..._values.timers import Timer
from ..._wire.codec import PONG, as_text
from ..._wire.exchange_codec import decode_request, encode_event, encode_reply
from ..._wire.requests import BadRequest, CancelRequest, LoginRequest, OtherRequest, Ping

ABORT = 1006
"""The `Hangup.code` that asks for the transport to end without a close frame: 1006 is what RFC 6455 (7.4.1) reserves for a
connection that ended so."""


@set_module("bitget_proto.testing")
class WhyDropped(DescribedEnum):
    """What ended a connection, as the exchange sees it."""

    ASKED = "asked", "`ExchangeConnection.close` was called."
    CLIENT_LEFT = "client left", "The transport ended."
    TOO_MANY_MESSAGES = (
        "too many messages",
        "The client said more than the page allows in a second.",
    )
    NO_PING = "no ping", "The client sent no ping for two minutes."
    TOO_OLD = (
        "too old",
        "The connection reached the age at which the exchange cuts every connection.",
    )
    LOGIN_REFUSED = (
        "login refused",
        "The login was refused; the page says that the exchange disconnects then.",
    )


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class LoginRequested:
    """An event, from `poll`: a client asks to log in. Answer with `accept_login` or `refuse_login`."""

    login: SignedLogin


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class CancelRequested:
    """An event, from `poll`: a client that is logged in asks to cancel an order. Answer with `accept` or `refuse`."""

    id: str
    order: CancelOrder


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class OtherRequested:
    """An event, from `poll`: a client asks for something else: `subscribe`, … or, with the op `trade`, to place an order.

    It may not be logged in: look at `state`. Answer with `say`, or not at all.
    """

    op: str
    text: str


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class ConnectionDropped:
    """The connection is over. Nothing comes after this."""

    why: WhyDropped
    detail: str


ExchangeOutput: TypeAlias = (
    Transmit | Hangup | LoginRequested | CancelRequested | OtherRequested | ConnectionDropped | Wait
)
"""What `ExchangeConnection.poll` gives."""


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """The limits that an exchange sets. Seconds, characters or bytes, and counts; None switches a limit off.

    Raises: ValidationError that names the limit, what came and what is allowed.
    """

    messages_per_second: int | None = attrs.field(default=10, validator=check_count)
    """Messages that a client may send in any second, login and pings included."""

    jitter: float | None = attrs.field(default=None, validator=check_seconds)
    """Seconds by which messages may arrive closer together than the pace allows. None is strict: no second, from any
    moment on, may hold more than `messages_per_second`."""

    ping_timeout: float | None = attrs.field(default=120.0, validator=check_seconds)
    """Seconds without a ping after which the client is dropped."""

    lifetime: float | None = attrs.field(default=86400.0, validator=check_seconds)
    """Seconds after which every connection is cut: 24 hours, announced in 2024 and still seen."""

    max_in_flight: int | None = attrs.field(default=1000, validator=check_count)
    """Cancels that a client may have unanswered. Ours."""

    max_message: int | None = attrs.field(default=65536, validator=check_count)
    """Length of a message that is read: characters of a `str`, bytes of `bytes`."""

    max_depth: int | None = attrs.field(default=32, validator=check_count)
    """Nesting of objects and lists in a message that is read; not looked at in one of up to 16 characters for each level, 512
    at most."""

    lenient: bool = attrs.field(default=False, validator=check_flag)
    """Whether requests are read as clients in the wild send them: a login's stamp as a number, `api_key`, and keys
    that the page lacks."""


@set_module("bitget_proto.testing")
class ExchangeConnection:
    """The exchange's side of one WebSocket. Drive it like a `Connection`: drain `poll` after every call until `Wait`.

    `now` is a number of seconds on any clock that does not run backwards; a `now` that does counts as standing still. Every
    call raises LocalProtocolError for a `now` that is no finite number, and nothing has changed. It has no lock: call it
    from one thread.

    Raises: ValidationError for a part that is none.
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
        self._pace = Pace(self._config.messages_per_second)
        self._login_due = False
        self._in_flight: dict[str, CancelOrder] = {}
        self._outputs: deque[ExchangeOutput] = deque()
        self._unwritten: deque[Transmit] = deque()
        self._idle_at = self._lifetime_at = inf

    def __repr__(self) -> str:
        return f"<ExchangeConnection {self._state.value}, {len(self._in_flight)} in flight>"

    @property
    def state(self) -> State:
        """Where the connection is in its life: AUTHENTICATING until a login is accepted; never DRAINING."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many cancels were asked for and are not answered."""
        return len(self._in_flight)

    # --- the world happened ---

    def opened(self, now: float) -> None:
        """A client has connected. Ignored after the end.

        Raises: LocalProtocolError when it was called before, and nothing has changed.
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
        """The client said this, text or bytes, whole. Never raises for what it says; ignored before `opened` and after the end.

        Raises: ValidationError when it is neither text nor bytes, and nothing has changed.
        """
        now = finite_time(now, self._now)
        if not isinstance(message, (str, bytes)):
            raise ValidationError(f"message must be str or bytes; got {safe_repr(message)}")
        self._now = now
        if self._state is State.NEW or self._state is State.CLOSED:
            return
        soon = now + (self._config.jitter or 0.0)
        if self._pace.opens() > soon:
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
        )
        ready = self._state is State.READY
        if isinstance(request, Ping):
            self._idle_at = after(now, self._config.ping_timeout)
            self._transmit(PONG)
        elif isinstance(request, CancelRequest):
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
                self._say_error(request.code, request.message, request.arg)
        else:
            self._say_error("30002", f"illegal request: {request.reason}")

    def lost(self, now: float, reason: str = "") -> None:
        """The transport has ended. Ignored after the end."""
        self._now = finite_time(now, self._now)
        if self._state is not State.CLOSED:
            self._end(WhyDropped.CLIENT_LEFT, reason)

    def handle_timeout(self, now: float) -> None:
        """Time has passed. Early, late or repeated: harmless."""
        self._now = now = finite_time(now, self._now)
        if now >= self._idle_at and self._idle_at <= self._lifetime_at:
            self._end(WhyDropped.NO_PING, f"no ping for {self._config.ping_timeout} s")
        elif now >= self._lifetime_at:
            self._end(WhyDropped.TOO_OLD, f"{self._config.lifetime} s old")

    # --- you want something ---

    def accept_login(self, now: float) -> None:
        """Answer the login: it is accepted.

        Raises: LocalProtocolError when no login waits for an answer, and nothing has changed.
        """
        now = self._check_login_due(now)
        self._now = now
        self._login_due = False
        self._state = State.READY
        self._transmit(encode_event("login", 0, None))

    def refuse_login(self, code: str, message: str, now: float, *, stay: bool = False) -> None:
        """Answer the login: it is refused, with an `event: "error"` as recorded. The exchange then hangs up, as the page
        says; with `stay` it keeps the socket open, as was seen.

        Raises: LocalProtocolError when no login waits for an answer, and nothing has changed.
        """
        now = self._check_login_due(now)
        check_refusal(code)
        self._now = now
        self._login_due = False
        self._say_error(code, message)
        if not stay:
            self._end(WhyDropped.LOGIN_REFUSED, message)

    def accept(self, id: str, now: float, *, exchange_ts: int | None = None) -> None:
        """Answer a cancel: it is accepted.

        Raises: LocalProtocolError when no cancel of this id waits for an answer, and nothing has changed.
        """
        self._answer(id, now, "0", "Success", exchange_ts)

    def refuse(
        self, id: str, code: str, message: str, now: float, *, exchange_ts: int | None = None
    ) -> None:
        """Answer a cancel: it is refused with this code (a decimal string other than "0").

        Raises: LocalProtocolError when no cancel of this id waits for an answer, or for a code that is no refusal's, and
        nothing has changed.
        """
        check_refusal(code)
        self._answer(id, now, code, message, exchange_ts)

    def forget(self, id: str, now: float) -> None:
        """Never answer this cancel, as a faulty exchange would.

        Raises: LocalProtocolError when no cancel of this id waits for an answer, and nothing has changed.
        """
        now = finite_time(now, self._now)
        self._check_waits(id)
        self._now = now
        del self._in_flight[id]

    def say(self, text: str, now: float) -> None:
        """Say anything else: a push, a notice, garbage. It answers nothing.

        Raises: LocalProtocolError when the connection is not open, and nothing has changed.
        """
        now = finite_time(now, self._now)
        self._check_open()
        self._now = now
        self._transmit(text)

    def close(self, now: float, code: int = 1000, reason: str = "") -> None:
        """End the connection: what was said before still goes out, then the hangup. Code 1006 asks for no close frame.
        After the end: harmless.
        """
        self._now = finite_time(now, self._now)
        if self._state is not State.CLOSED:
            self._end(WhyDropped.ASKED, reason, code)

    # --- the way out ---

    def poll(self, now: float, writable: bool = True) -> ExchangeOutput:
        """The next thing to do or to know: call it until it gives a `Wait`, after every call.

        With `writable=False`, while a write is under way, it gives everything but a `Transmit`; `Hangup` and
        `ConnectionDropped` come after all that was said.
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

    # --- inside ---

    def _cancel_requested(self, request: CancelRequest) -> None:
        limit = self._config.max_in_flight
        if request.id in self._in_flight:
            self._transmit(
                encode_reply(request.order, request.id, code=30016, message="the id is in flight"),
                request.id,
            )
        elif limit is not None and len(self._in_flight) >= limit:
            self._say_error("30006", "request too many")
        else:
            self._in_flight[request.id] = request.order
            self._outputs.append(CancelRequested(id=request.id, order=request.order))

    def _answer(
        self, id: str, now: float, code: str, message: str, exchange_ts: int | None
    ) -> None:
        now = finite_time(now, self._now)
        self._check_open()
        self._check_waits(id)
        self._now = now
        order = self._in_flight.pop(id)
        self._transmit(
            encode_reply(order, id, code=int(code), message=message, exchange_ts=exchange_ts),
            id,
        )

    def _check_open(self) -> None:
        if self._state is State.NEW or self._state is State.CLOSED:
            what = "call opened first" if self._state is State.NEW else "use another one"
            raise LocalProtocolError(
                f"the connection is {self._state.value}, and nothing can be said on it: {what}"
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
        self._transmit(encode_event("error", int(code), message, arg=arg))

    def _transmit(self, text: str, id: str | None = None) -> None:
        self._unwritten.append(Transmit(text=text, id=id))

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


def check_refusal(code: object) -> None:
    """Let nothing pass that is no refusal's code.

    Raises: ValidationError, and nothing has changed.
    """
    if not (isinstance(code, str) and code.isascii() and code.isdigit() and int(code)):
        raise ValidationError(
            f"code must be a decimal string other than '0', such as '43001'; got {safe_repr(code)}"
        )
