"""What comes out of a session: dials, frames and hangups that name their link, outcomes, and what has become of the links.

Rules of this file
- A link is a whole number, counted from 1 in the order dialled. No number is used twice.
- What a connection says and a session has nothing to add to is the connection's own class: outcomes, `LateReply`,
  `LoginRejected`, `ExchangeError`, `GoingAway`, `Unrecognised`, `Wait`.
- The unions at the end are closed: a `match` that forgets a member is an error for mypy and pyright.
"""

from typing import TypeAlias

import attrs

from .._values.events import (
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LoginRejected,
    Outcome,
    Transmit,
    Unrecognised,
    Wait,
)
from .._values.set_module import set_module
from .._values.states import WhyClosed
from .session_states import WhyEnded

# --- for the driver ---


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class Dial:
    """Open a WebSocket; then call `Session.opened` with this link and a login that was signed just now, or `lost`."""

    link: int
    stamp_refused: bool = False
    """Whether the exchange has refused the stamp of the last login (30013, 30014): ask it for its time (REST, `GET
    /api/v2/public/time`) and sign with that. When the corrected stamp is refused too, and no login was ever accepted, the
    session ends."""


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class LinkTransmit(Transmit):
    """Write this text on this link as one WebSocket text message, whole and in order."""

    link: int

    def __repr__(self) -> str:
        # Not attrs' own: a login's text is not to be shown.
        return f"Link{super().__repr__()[:-1]}, link={self.link})"


@set_module("bitget_proto")
@attrs.define(kw_only=True)
class LinkHangup(Hangup):
    """Close the WebSocket of this link, or give up its dial; what it still says is of no interest."""

    link: int


# --- what has become true ---


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Up:
    """A link serves from now on: cancels go out on it.

    What you had subscribed to has ended with the link before: ask again with `Session.send`. Without a `Down` before it, one
    link has taken over from another and nothing was interrupted.
    """

    link: int
    down_for: float
    """Seconds since `Down`, or since the first dial; 0 when one link has taken over from another."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Down:
    """No link serves any more: cancels wait, for at most `SessionConfig.no_link_timeout`, while the session dials."""

    link: int
    """The link that served."""

    why: WhyClosed
    detail: str
    up_for: float
    """Seconds since the `Up` of that link."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class LinkClosed:
    """A link is over, whether or not it ever served; nothing more comes for it."""

    link: int
    why: WhyClosed
    """LOST for a dial that failed or was given up, too."""

    detail: str
    """A few words for people: the driver's reason for `lost`, the exchange's message."""


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Ended:
    """The session is over, and every cancel has its outcome. Nothing comes after this."""

    why: WhyEnded
    detail: str
    """The exchange's message, for people; with ASKED a driver's own words, or nothing."""

    code: str | None
    """The exchange's code with which the last login was refused; None when no login was, or when it could not be read."""


SessionEvent: TypeAlias = (
    Outcome | Up | Down | LinkClosed | LoginRejected | LateReply | ExchangeError | GoingAway | Unrecognised | Ended
)  # fmt: skip
"""What has become true for a session."""

SessionOutput: TypeAlias = Dial | LinkTransmit | LinkHangup | SessionEvent | Wait
"""What `Session.poll` gives."""
