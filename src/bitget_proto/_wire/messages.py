"""What the exchange says, as typed values: the closed union `Message`.

Rules of this file
- These are frames, not outcomes: nothing here knows which request was sent, or whether one was.
- A value says what was readable in the frame and no more. What was missing is None; what contradicts itself says so.

It does not know JSON, nor the exchange's spelling of a key: that is the codec's.
"""

from typing import Literal, TypeAlias

import attrs

from .._values.codes import CLASSES, CodeClass
from .._values.set_module import set_module


@set_module("bitget_proto")
@attrs.define
class TradeReply:
    """The exchange answers a trade request (`event: "trade"`)."""

    id: str | None
    """The id of the one request that it answers; None when it names none, several, or one that is no string."""

    names_request: bool
    """Whether it names a request at all, readable or not. An answer with several entries does."""

    code: str | None
    """A decimal string without leading zeros; None when the frame has no readable code."""

    message: str
    """Text for people, may be localised, may be empty."""

    exchange_ts: int | None
    """The exchange's own time, in milliseconds since 1970. Undocumented, and may be missing."""

    answers_other: bool = False
    """Whether the frame says that it answers something other than a cancel: its echo names another channel than
    `cancel-order`, or the frame another `topic`, or another `op` than `trade`. Where it names none, it may be either."""

    @property
    def code_class(self) -> CodeClass:
        """What the code means here."""
        return CLASSES[self.code]


@set_module("bitget_proto")
@attrs.define
class ErrorReply:
    """The exchange reports an error (`event: "error"`): the refusal of a request, of the login, or of nothing it names.

    The fields are those of `TradeReply`.
    """

    id: str | None
    names_request: bool
    code: str | None
    message: str
    exchange_ts: int | None
    answers_other: bool = False

    @property
    def code_class(self) -> CodeClass:
        """What the code means here: an error whose code says "accepted" contradicts itself."""
        code_class = CLASSES[self.code]
        return CodeClass.UNREADABLE if code_class is CodeClass.ACCEPTED else code_class


@set_module("bitget_proto")
@attrs.define
class LoginReply:
    """The exchange answers the login (`event: "login"`). A refusal usually comes as an `ErrorReply` instead."""

    code: str | None
    message: str

    @property
    def code_class(self) -> CodeClass:
        """What the code means here."""
        return CLASSES[self.code]


@set_module("bitget_proto")
@attrs.define
class Pong:
    """The bare text `pong`, the answer to `ping`."""


@set_module("bitget_proto")
@attrs.define
class Other:
    """Anything else that is a JSON object: a push, the answer to a subscription, an event of tomorrow."""

    event: str | None


MalformedReason: TypeAlias = Literal[
    "too large", "not UTF-8", "too deep", "not JSON", "not an object", "wrong type"
]


@set_module("bitget_proto")
@attrs.define
class Malformed:
    """A frame that cannot be read; `excerpt` is how it begins, at most 100 characters as they came.

    Of what a client says the excerpt is empty: it may be a login.
    """

    reason: MalformedReason
    excerpt: str


Message: TypeAlias = TradeReply | ErrorReply | LoginReply | Pong | Other | Malformed
"""What an exchange says. A `match` over it is checked for exhaustiveness by mypy and pyright."""
