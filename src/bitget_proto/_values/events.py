"""Outputs of a connection: frames to write, outcomes, events, and how long to wait.

An outcome states only what is known: `Accepted` does not mean "cancelled", and `Unresolved` does
not mean "failed". Times are seconds on the caller's clock, as they were passed in; only
`exchange_ts` is on the exchange's clock. The unions at the end are closed: mypy and pyright report
a `match` that misses a member.
"""

from __future__ import annotations

from typing import Any, SupportsIndex, TypeAlias

import attrs

from .codes import CodeClass
from .enums import DescribedEnum
from .errors import safe_error_repr
from .order_updates import OrderUpdate
from .orders import CancelOrder, InstType
from .set_module import set_module
from .states import WhyClosed
from .timers import Timer


@set_module("bitget_proto")
class WhyUnresolved(DescribedEnum):
    """Why a cancel ended `Unresolved`."""

    TIMEOUT = "timeout", "It was not sent, or not answered, before its deadline."
    LOST = "lost", "The transport ended, or the exchange stopped answering pings."
    CLOSED = (
        "closed",
        (
            "The connection ended for any other reason (`Closed.why`): you called `close`, the "
            "login failed, or the exchange sent 30004 (not logged in) or 30007 (too many requests)."
        ),
    )
    UNSURE = (
        "unsure",
        (
            "The exchange's answer has no readable code, or its code does not prove what happened; "
            "or a REST request got no answer."
        ),
    )
    NO_LINK = "no link", "No link was up for `SessionConfig.no_link_timeout` seconds."
    WITHDRAWN = "withdrawn", "`withdraw` was called before it was sent."
    INTERRUPTED = (
        "interrupted",
        "An exception, such as one raised by a signal handler, interrupted a call: its effect is unknown.",
    )


@set_module("bitget_proto")
class WhyUnrecognised(DescribedEnum):
    """Why a message was passed to the caller instead of being handled."""

    MALFORMED = "malformed", "It could not be decoded; `Unrecognised.malformed` gives the reason."
    UNKNOWN_ID = (
        "unknown id",
        (
            "Its id matches no cancel in flight: it answers a frame that you sent with `send`, or "
            "repeats an earlier answer."
        ),
    )
    OTHER_REQUEST = (
        "other request",
        "Its channel, topic or op is not that of a cancel: it answers one of your own frames.",
    )
    NEVER_SENT = (
        "never sent",
        "It answers a cancel or a login that has not been sent, so it cannot be a real answer.",
    )
    NO_SINGLE_ID = (
        "no single id",
        (
            "It cannot be matched to one request: it has several entries, or an id that is not a "
            "string."
        ),
    )
    NO_ID = "no id", "It answers a trade request but does not say which one."
    UNREADABLE_ORDER = (
        "unreadable order",
        (
            "It is a push about orders, and at least one order has no readable id. The readable "
            "orders came as `OrderUpdate` events before this event."
        ),
    )
    UNEXPECTED = (
        "unexpected",
        "It answers a login, but no login is pending or the answer has no readable code.",
    )
    OTHER = (
        "other",
        (
            "It does not concern this library: pushes and answers of other channels that you "
            "subscribed to arrive here."
        ),
    )


# --- for the driver: created for each call; mutable, and therefore not hashable ---


@set_module("bitget_proto")
@attrs.define
class Transmit:
    """Write this text as one WebSocket text message, whole and in order."""

    text: str
    ids: tuple[str, ...] = ()
    """The ids of the cancels that it carries: none for logins, pings and frames of your own, and
    several for a batch."""

    secret: bool = False
    """Whether the text contains secrets, as a login does: never log it."""

    def __repr__(self) -> str:
        text = f"<not shown, {len(self.text)} characters>" if self.secret else repr(self.text)
        return f"Transmit(text={text}, ids={self.ids!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self.secret:
            raise TypeError("this Transmit holds secrets and cannot be pickled")
        return super().__reduce_ex__(protocol)


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class Hangup:
    """Close the WebSocket with this code and reason, or abort the dial. `Closed` follows."""

    code: int
    reason: str
    abort: bool = False
    """Whether to abort the socket without a close frame. The link is dead, and bytes still in the
    kernel's send buffer must not reach the exchange after the cancel has been resent on another
    link."""


@set_module("bitget_proto")
@attrs.define
class Wait:
    """The end of a drain: `poll` has no more output until the next input or timer."""

    until: float | None
    """The time on your clock at which to call `handle_timeout` and drain again; None when there is
    no timer, and only input can produce more output. Only the latest `Wait` counts: any call may
    move this time in either direction."""

    timer: Timer | None
    """The timer that expires at `until`; None with `until=None`."""


# --- outcomes: exactly one for each cancel taken ---


@attrs.frozen
class _Settled:
    id: str
    order: CancelOrder

    attempts: int = attrs.field(default=1, kw_only=True)
    """The number of attempts that may have reached the exchange, but never less than 1; always 1 on
    a single connection. A cancel that was never sent also reports 1; check `sent_at`."""

    by_rest: tuple[int, ...] = attrs.field(default=(), kw_only=True)
    """The attempts that were sent by REST (`SessionConfig.rest_after`), as numbers from 1. The
    others were sent over a WebSocket."""

    taken_at: float
    """When `cancel` took it, in seconds on the caller's clock."""

    sent_at: float | None
    """When `poll` returned the last attempt that may have reached the exchange; None if none did.
    """

    resolved_at: float
    """When this outcome was determined."""


@set_module("bitget_proto")
@attrs.frozen
class Accepted(_Settled):
    """The exchange accepted the request.

    **The order may still fill**: the `orders` channel is authoritative.
    """

    exchange_ts: int | None
    """The exchange's timestamp, in milliseconds since 1970; None when the answer has none."""

    order_id: str | None = None
    """The exchange's id of the order, as its answer names it; None if the answer names none. On a
    classic account only answers by REST name it."""


@set_module("bitget_proto")
@attrs.frozen
class Rejected(_Settled):
    """The exchange refused the request, with a code that is known to be a refusal.

    If the code is not known to be a refusal, or an earlier attempt may have succeeded, the outcome
    is `Unresolved`.
    """

    code: str
    """A decimal string without leading zeros."""

    code_class: CodeClass
    message: str
    """The exchange's text for people. It may be localised: do not base decisions on it."""

    exchange_ts: int | None


@set_module("bitget_proto")
@attrs.frozen
class Unresolved(_Settled):
    """The result of the cancel is unknown, or the cancel was never sent.

    If `sent` is true, the cancel may have taken effect: look the order up. If it is false, the
    cancel had no effect, and sending it again is safe.
    """

    sent: bool
    why: WhyUnresolved
    code: str | None = None
    """With UNSURE, the exchange's code, or None if there was no readable code. None with any other
    reason."""

    message: str | None = None
    """With UNSURE, the exchange's text, or None if there was none. None with any other reason."""

    hint: str | None = None
    """For people: with TIMEOUT, what to check if the exchange has answered no cancel on this
    connection; with UNSURE, why a REST request got no answer. None in all other cases."""


# --- other events ---


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Ready:
    """The exchange accepted the login: cancels are sent from now on."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class LoginRejected:
    """The exchange refused the login; the connection ends."""

    code: str | None
    code_class: CodeClass
    message: str
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class LateReply:
    """The answer to a cancel that had already ended `Unresolved(sent=True)`.

    The outcome does not change; this event adds what is known now.
    """

    id: str
    order: CancelOrder
    code: str | None
    code_class: CodeClass
    """ACCEPTED only if the exchange accepted the request."""

    message: str
    exchange_ts: int | None
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class ExchangeError:
    """The exchange reported an error that names no request. This is an event and never raised.

    It resolves no cancel, not even the only one in flight.
    """

    code: str | None
    code_class: CodeClass
    message: str
    text: str
    """The whole frame. A frame that refuses a subscription says which one."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Subscribed:
    """The exchange accepted a subscription: changes of orders are `OrderUpdate` events from now on.

    The exchange sends no snapshot: an order that ended before the subscription is never pushed.
    "There is a possibility of message loss" (Order Channel).
    """

    inst_type: InstType | None
    """The product line; None on unified accounts, where one subscription covers all."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class SubscribeRefused:
    """The exchange refused a subscription: there are no pushes about these orders."""

    inst_type: InstType | None
    """The product line; None on unified accounts, where one subscription covers all."""

    code: str | None
    code_class: CodeClass
    message: str
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class GoingAway:
    """The exchange will drop the connection "within 60 s" (30033): move to another connection."""

    message: str
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Unrecognised:
    """A message that this library does not handle, with its whole text."""

    text: str
    why: WhyUnrecognised
    malformed: str | None = None
    """Why the message is malformed, in a few words; None when it is not."""


def _repr_of_error(event: CallerError) -> str:
    return "" if event.error is None else safe_error_repr(event.error)


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class CallerError:
    """A function that you passed in raised an exception or returned a wrong value.

    Cancels are not affected: the library goes on without the function, as `where` says.
    """

    where: str
    """The name of the function. The consequence depends on the function:

    - `jitter`: this backoff has no jitter.
    - `wall_clock` of a transport: no login can be signed; the next dial waits until it returns a
      time.
    - `trace`, the `write` function passed to `record`: no more lines are written.
    - `observe` of a transport: it is not called again.
    """

    error: Exception | None = attrs.field(default=None, eq=False, repr=False)
    """The exception; a ValidationError for a wrong value; None in a replay.

    It is ignored when events are compared. In the events of a channel the exception has no
    traceback; the log has the traceback.
    """

    detail: str = attrs.field(default=attrs.Factory(_repr_of_error, takes_self=True))
    """The `repr` of the exception, for people: at most 200 characters on one line."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Closed:
    """The connection has ended and every cancel has its outcome. This is the last event."""

    why: WhyClosed
    detail: str
    """Text for people: the reason that the driver passed to `lost`, the exchange's message, or the
    library's own, such as which timeout expired. It may be empty."""


Outcome: TypeAlias = Accepted | Rejected | Unresolved
"""The result of a cancel."""

Event: TypeAlias = (
    Outcome | Ready | LoginRejected | LateReply | OrderUpdate | Subscribed | SubscribeRefused
    | ExchangeError | GoingAway | Unrecognised | CallerError | Closed
)  # fmt: skip
"""Everything that a connection reports. Only a recorded connection reports a `CallerError`."""

Output: TypeAlias = Transmit | Hangup | Event | Wait
"""What `Connection.poll` returns."""
