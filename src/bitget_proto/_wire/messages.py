"""Messages of the exchange: the closed union `Message`.

A value holds what was readable in a frame, and None for missing parts. It does not say whether the
request that it names was ever sent.
"""

from typing import Literal, TypeAlias

import attrs

from .._values.codes import CLASSES, CodeClass
from .._values.dialects import Dialect
from .._values.order_updates import OrderUpdate
from .._values.orders import InstType
from .._values.set_module import set_module


@set_module("bitget_proto")
@attrs.frozen
class OrderReply:
    """An order in an answer of a unified account.

    The items of the answer to a batch have a code and a text each; the one order in the answer to a
    single cancel has neither.
    """

    order_id: str | None
    """The exchange's id of the order; None if it is missing or not a string."""

    client_oid: str | None
    code: str | None = None
    """A decimal string without leading zeros; None if the item has no readable code."""

    message: str = ""
    """Text for people. It may be localised or empty."""


@set_module("bitget_proto")
@attrs.define
class TradeReply:
    """An answer to a trade request (`event: "trade"`)."""

    id: str | None
    """The id of the request that it answers; None if it has none, several, or a non-string id."""

    names_request: bool
    """Whether it names any request, even one whose id is not readable. An answer with several
    entries does."""

    code: str | None
    """A decimal string without leading zeros; None if the frame has no readable code."""

    message: str
    """Text for people. It may be localised or empty."""

    exchange_ts: int | None
    """The exchange's timestamp, in milliseconds since 1970. Undocumented, and may be missing."""

    not_for_cancel: bool = False
    """Whether the frame answers something other than a cancel: the channel in its echo or its
    `topic` is not `cancel-order`, or its `op` is not `trade`. A frame with none of the three may
    answer a cancel or anything else."""

    dialect: Dialect = Dialect.CLASSIC
    """The API that defines the meaning of the code."""

    orders: tuple[OrderReply, ...] = ()
    """The orders that the answer names; empty on classic accounts."""

    for_batch: bool = False
    """Whether the frame may answer a batch: only on unified accounts, and if its `topic` does not
    say that it answers something else."""

    remaining: int | None = None
    """How many more requests the exchange says it would take now (`rateLimit`); None if it does not
    say."""

    @property
    def code_class(self) -> CodeClass:
        """The class of the code."""
        return CLASSES[self.dialect][self.code]


@set_module("bitget_proto")
@attrs.define
class ErrorReply:
    """An error (`event: "error"`): it refuses a request or the login, or names no request.

    The fields are those of `TradeReply`.
    """

    id: str | None
    names_request: bool
    code: str | None
    message: str
    exchange_ts: int | None
    not_for_cancel: bool = False
    dialect: Dialect = Dialect.CLASSIC
    orders: tuple[OrderReply, ...] = ()
    for_batch: bool = False
    remaining: int | None = None

    @property
    def code_class(self) -> CodeClass:
        """The class of the code; UNREADABLE for an error with code 0, which contradicts itself."""
        code_class = CLASSES[self.dialect][self.code]
        return CodeClass.UNREADABLE if code_class is CodeClass.ACCEPTED else code_class


@set_module("bitget_proto")
@attrs.define
class LoginReply:
    """An answer to the login (`event: "login"`). A refusal is usually an `ErrorReply` instead."""

    code: str | None
    message: str
    dialect: Dialect = Dialect.CLASSIC

    @property
    def code_class(self) -> CodeClass:
        """The class of the code."""
        return CLASSES[self.dialect][self.code]


@set_module("bitget_proto")
@attrs.define
class Pong:
    """The bare text `pong`, the answer to `ping`."""


@set_module("bitget_proto")
@attrs.define
class OrdersPush:
    """A push of the order channel: what became of some orders."""

    updates: tuple[OrderUpdate, ...]
    unreadable: int = 0
    """How many of its items cannot be read, because they are not objects or have no id."""


@set_module("bitget_proto")
@attrs.define
class SubscribeReply:
    """An answer to a subscription of the order channel (`event` is "subscribe" or "error")."""

    inst_type: InstType | None
    """The product line; None on unified accounts, where one subscription covers all."""

    accepted: bool
    code: str | None
    """A decimal string without leading zeros; None if the frame has no readable code. A frame that
    accepts a subscription usually has none."""

    message: str
    dialect: Dialect = Dialect.CLASSIC

    @property
    def code_class(self) -> CodeClass:
        """The class of the code; UNREADABLE for a refusal with code 0, which contradicts itself."""
        if self.accepted:
            return CodeClass.ACCEPTED
        code_class = CLASSES[self.dialect][self.code]
        return CodeClass.UNREADABLE if code_class is CodeClass.ACCEPTED else code_class


@set_module("bitget_proto")
@attrs.define
class Other:
    """Any other JSON object: a push of another channel, or an unknown event."""

    event: str | None


MalformedReason: TypeAlias = Literal[
    "too large", "not UTF-8", "too deep", "not JSON", "not an object", "wrong type"
]


@set_module("bitget_proto")
@attrs.define
class Malformed:
    """A frame that cannot be decoded; `excerpt` is its beginning, up to 100 unmodified characters.

    The excerpt of a client's frame is empty, because the frame may be a login.
    """

    reason: MalformedReason
    excerpt: str


Message: TypeAlias = (
    TradeReply | ErrorReply | LoginReply | Pong | OrdersPush | SubscribeReply | Other | Malformed
)
"""A message of the exchange. mypy and pyright check that a `match` over it is exhaustive."""
