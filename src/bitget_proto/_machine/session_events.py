"""Outputs of a session: dials, frames and hangups for a link, outcomes, and events about links.

A link is identified by a whole number, counted from 1 in the order of dialling; no number is used
twice. Outcomes, `LateReply`, `LoginRejected`, `ExchangeError`, `GoingAway`, `Unrecognised`,
`CallerError` and `Wait` are the classes of a connection. The unions at the end are closed: mypy and
pyright report a `match` that misses a member.
"""

from typing import TypeAlias

import attrs

from .._values.events import (
    CallerError,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LoginRejected,
    Outcome,
    Subscribed,
    SubscribeRefused,
    Transmit,
    Unrecognised,
    Wait,
)
from .._values.order_updates import OrderUpdate
from .._values.rest_requests import RestRequest
from .._values.set_module import set_module
from .._values.states import WhyClosed
from .session_states import WhyEnded

# --- for the driver ---


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class Dial:
    """Open a WebSocket.

    Then call `Session.opened` with this link and a freshly signed login, or `lost`.
    """

    link: int
    stamp_refused: bool = False
    """Whether the exchange has refused the timestamp of the last login (30013, 30014): get the
    exchange's time (REST, `GET /api/v2/public/time`) and sign with it. If the corrected timestamp
    is refused too, and no login was ever accepted, the session ends."""


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class LinkTransmit(Transmit):
    """Write this text on this link as one WebSocket text message, whole and in order."""

    link: int

    def __repr__(self) -> str:
        # Not the `__repr__` of attrs: the text of a login must not be shown.
        return f"Link{super().__repr__()[:-1]}, link={self.link})"


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class LinkHangup(Hangup):
    """Close the WebSocket of this link, or abort its dial. Further messages from it are ignored."""

    link: int


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class RestCancel:
    """Send this request to the exchange's REST API, signed with `sign_request`.

    Then call `Session.rest_replied` with this number, or `Session.rest_failed`. A session returns
    it only with `SessionConfig.rest_after`.
    """

    number: int
    """Counted from 1; no number is used twice."""

    id: str
    """The id of the cancel."""

    request: RestRequest


# --- events ---


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Up:
    """A link is up: cancels are sent on it from now on.

    Your subscriptions ended with the previous link: subscribe again with `Session.send`. If another
    link was already up, cancels were not interrupted, and `down_for` is 0.
    """

    link: int
    down_for: float
    """Seconds since `Down`, or since the first dial; 0 if another link was already up."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Down:
    """No link is up: the session dials, and cancels wait.

    They wait for at most `SessionConfig.no_link_timeout` seconds.
    """

    link: int
    """The link that was up."""

    why: WhyClosed
    detail: str
    up_for: float
    """Seconds since the `Up` of that link."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class LinkClosed:
    """A link has ended, whether or not it was ever up. This is its last event."""

    link: int
    why: WhyClosed
    """LOST also stands for a dial that failed or was given up."""

    detail: str
    """Text for people: the reason that the driver passed to `lost`, or the exchange's message."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Ended:
    """The session has ended and every cancel has its outcome. This is the last event."""

    why: WhyEnded
    detail: str
    """Text for people: the exchange's message with REFUSED and STAMP_REFUSED; empty with ASKED.
    With INTERRUPTED, a driver may give its reason."""

    code: str | None
    """The exchange's code for the refusal of the last login; None if no login was refused, or if
    the code could not be read."""


SessionEvent: TypeAlias = (
    Outcome | Up | Down | LinkClosed | LoginRejected | LateReply | OrderUpdate | Subscribed
    | SubscribeRefused | ExchangeError | GoingAway | Unrecognised | CallerError | Ended
)  # fmt: skip
"""Everything that a session reports."""

SessionOutput: TypeAlias = Dial | LinkTransmit | LinkHangup | RestCancel | SessionEvent | Wait
"""What `Session.poll` returns."""
