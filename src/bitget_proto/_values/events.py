"""What comes out of a connection: frames to write, outcomes, events, and how long to wait.

Rules of this file
- An outcome says what is known and never more. `Accepted` is not "cancelled", `Unresolved` is not "failed".
- Times are on the caller's clock, in seconds, as they were passed in; `exchange_ts` alone is the exchange's.
- The unions at the end are closed: a `match` that forgets a member is an error for mypy and pyright.
"""

from __future__ import annotations

from typing import Any, SupportsIndex, TypeAlias

import attrs

from .codes import CodeClass
from .enums import DescribedEnum
from .orders import CancelOrder
from .set_module import set_module
from .states import WhyClosed
from .timers import Timer


@set_module("bitget_proto")
class WhyUnresolved(DescribedEnum):
    """Why a cancel ended without an answer that settles it."""

    TIMEOUT = "timeout", "It was not sent, or not answered, by its deadline."
    LOST = "lost", "The transport ended, or the exchange no longer answered pings."
    CLOSED = (
        "closed",
        "The connection ended for any other reason, which `Closed.why` says: `close`, the login, 30004, 30007.",
    )
    UNSURE = (
        "unsure",
        "The exchange answered with a code that settles nothing, or with none that is readable.",
    )
    NO_LINK = "no link", "No link served for `SessionConfig.no_link_timeout`."
    WITHDRAWN = "withdrawn", "`withdraw` was called before it was sent."
    INTERRUPTED = (
        "interrupted",
        "An exception, such as a signal handler's, passed through a call, so that what it did is not known.",
    )


@set_module("bitget_proto")
class WhyUnrecognised(DescribedEnum):
    """Why a message was handed on instead of being acted on."""

    MALFORMED = "malformed", "It could not be read: `Unrecognised.malformed` says why."
    UNKNOWN_ID = (
        "unknown id",
        "It answers a request that is not in flight: one of your own frames, or one that was answered before.",
    )
    OTHER_REQUEST = (
        "other request",
        "It says that it answers something other than a cancel: one of your own frames.",
    )
    NEVER_SENT = (
        "never sent",
        "It answers a cancel, or a login, that was never handed out, so that it cannot be the answer.",
    )
    NO_SINGLE_ID = (
        "no single id",
        "It names a request, but not by one id that is a string: several answers in one, or an id of another type.",
    )
    NO_ID = "no id", "It is the answer to a trade request and does not say to which."
    UNEXPECTED = "unexpected", "It answers a login when none is due, or without a readable code."
    OTHER = (
        "other",
        "It is none of this library's business: pushes and answers of channels that you subscribed to arrive here.",
    )


# --- for the driver: made for each call, and without a hash, since these can be changed ---


@set_module("bitget_proto")
@attrs.define
class Transmit:
    """Write this text as one WebSocket text message, whole and in order."""

    text: str
    id: str | None = None
    """The id of the cancel that it carries; None for logins, pings and frames of your own."""

    secret: bool = False
    """Whether the text holds secrets (a login does): never log it."""

    def __repr__(self) -> str:
        text = f"<not shown, {len(self.text)} characters>" if self.secret else repr(self.text)
        return f"Transmit(text={text}, id={self.id!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self.secret:
            raise TypeError("this Transmit holds secrets and cannot be pickled")
        return super().__reduce_ex__(protocol)


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class Hangup:
    """Close the WebSocket with this code and reason, or give up the dial; `Closed` follows."""

    code: int
    reason: str
    abort: bool = False
    """Whether to abort the socket instead, without a close frame: the link is dead, and what the kernel still holds must not
    be delivered after the same cancel was sent on another link."""


@set_module("bitget_proto")
@attrs.define
class Wait:
    """There is nothing more to take out for now: the end of every drain."""

    until: float | None
    """Call `handle_timeout` and drain again at this time on your clock; None when only input can bring news. The latest
    `Wait` counts: any call may move this either way."""

    timer: Timer | None
    """What is due at `until`; None with `until=None`."""


# --- outcomes: exactly one for each cancel that was taken ---


@attrs.frozen
class _Settled:
    id: str
    order: CancelOrder

    attempts: int = attrs.field(default=1, kw_only=True)
    """How often it was tried: 1 on a single connection."""

    taken_at: float
    """When `cancel` took it, in seconds on the caller's clock."""

    sent_at: float | None
    """When it was handed out; None when it provably never left."""

    resolved_at: float
    """When this outcome was decided."""


@set_module("bitget_proto")
@attrs.frozen
class Accepted(_Settled):
    """The exchange took the request. **The order may still fill**: the `orders` channel has the last word."""

    exchange_ts: int | None
    """The exchange's own time of it, in milliseconds since 1970, when it said one."""


@set_module("bitget_proto")
@attrs.frozen
class Rejected(_Settled):
    """The exchange refused the request, with a code that says so. Where an earlier attempt may have worked, or the code is not
    known to be a refusal, the outcome is `Unresolved`.
    """

    code: str
    """A decimal string without leading zeros."""

    code_class: CodeClass
    message: str
    """The exchange's text, for people: it may be localised, never decide on it."""

    exchange_ts: int | None


@set_module("bitget_proto")
@attrs.frozen
class Unresolved(_Settled):
    """What became of the cancel is not known, or it never left.

    With `sent` it may have happened: look the order up. Without, it cannot have happened: sending it again is safe.
    """

    sent: bool
    why: WhyUnresolved
    code: str | None = None
    """The exchange's code, with UNSURE; None otherwise, and when it could not be read."""

    message: str | None = None
    """The exchange's text, with UNSURE; None otherwise."""


# --- everything else that has become true ---


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Ready:
    """The exchange accepted the login: cancels go out from now on."""


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
    """The answer to a cancel that had ended `Unresolved(sent=True)`. Its outcome stands; this is what you now know."""

    id: str
    order: CancelOrder
    code: str | None
    code_class: CodeClass
    """ACCEPTED only when the exchange really said so."""

    message: str
    exchange_ts: int | None
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class ExchangeError:
    """An event, never raised: the exchange reports an error that names no request. It resolves no cancel, not even the
    only one in flight.
    """

    code: str | None
    code_class: CodeClass
    message: str
    text: str
    """The whole frame: where it refuses a subscription, it says which."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class GoingAway:
    """The exchange is about to drop the connection (30033), "within 60 s": move to another one."""

    message: str
    text: str
    """The whole frame."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Unrecognised:
    """A message that is not this library's to act on, whole."""

    text: str
    why: WhyUnrecognised
    malformed: str | None = None
    """What is wrong with a malformed one, in a few words."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Closed:
    """The connection is over, and every cancel has its outcome. Nothing comes after this."""

    why: WhyClosed
    detail: str
    """A few words for people: the driver's reason for `lost`, the exchange's message."""


Outcome: TypeAlias = Accepted | Rejected | Unresolved
"""What became of a cancel."""

Event: TypeAlias = (
    Outcome | Ready | LoginRejected | LateReply | ExchangeError | GoingAway | Unrecognised | Closed
)  # fmt: skip
"""What has become true."""

Output: TypeAlias = Transmit | Hangup | Event | Wait
"""What `Connection.poll` gives."""
