"""The codec of a client: encodes requests and decodes messages of the exchange.

The codec of the exchange's side is in `exchange_codec`.

Rules for changes
- `classic` and `unified` write requests and read answers, each for its kind of account.
- Encoding is strict: requests match the exchange's documentation byte for byte.
- Decoding is tolerant: `decode` never raises for the content of a frame. For a frame that cannot be
  decoded, it returns `Malformed`.
- The codec keeps no state between frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, cast

from .._values.credentials import SignedLogin
from .._values.dialects import Dialect
from .._values.errors import ValidationError, safe_repr
from .._values.orders import CancelOrder, InstType, check_request_id, prevailing_id
from .._values.set_module import set_module
from . import classic, unified
from .json_engines import (
    Engine,
    EngineName,
    WrongShape,
    WrongType,
    plain_loads,
    reader,
)
from .json_text import dumps
from .message_limits import (
    MAX_DEPTH,
    MAX_MESSAGE,
    UNCHECKED_AT_MOST,
    UNCHECKED_PER_LEVEL,
    malformed,
    read_text,
)
from .messages import Malformed, Message, OrdersPush, Pong, SubscribeReply

PING: Final = "ping"
"""The heartbeat: bare text, not JSON. A WebSocket ping frame does not count."""

PONG: Final = "pong"

_PONG = Pong()


DialectName: TypeAlias = Literal["classic", "unified"]
"""The values of `Dialect`."""


@set_module("bitget_proto")
class Codec:
    """Encodes and decodes frames of one dialect, with a JSON engine of your choice.

    Connections may share a codec.

    `Codec()` decodes with the standard library, `Codec(Engine.MSGSPEC)` or `Codec("msgspec")` with
    that engine, `Codec(fastest())` with the fastest installed one. The result does not depend on
    the engine. `dialect` is the API of the account: `Codec(dialect=Dialect.UNIFIED)`.

    Raises: ImportError, with the command to install it, if the engine is not installed;
    ValidationError if `engine` is not an engine, or `dialect` not a dialect.
    """

    __slots__ = (
        "_channel_message",
        "_check_order",
        "_decode_fast",
        "_decode_plain",
        "_encode_cancel",
        "_encode_subscribe",
        "_fallback_errors",
        "_loads",
        "_message",
        "batches",
        "dialect",
        "engine",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine | EngineName = Engine.STDLIB,
        dialect: Dialect | DialectName = Dialect.CLASSIC,
    ) -> None:
        try:
            self.engine: Final = Engine(engine)
        except ValueError:
            names = ", ".join(repr(member.value) for member in Engine)
            raise ValidationError(
                f"engine must be an Engine, or one of the names {names}; got {safe_repr(engine)}"
            ) from None
        try:
            self.dialect: Final = Dialect(cast("str", dialect))
        except ValueError:
            names = ", ".join(repr(member.value) for member in Dialect)
            raise ValidationError(
                f"dialect must be a Dialect, or one of the names {names}; got {safe_repr(dialect)}"
            ) from None
        self._encode_subscribe = (
            classic.encode_subscribe
            if self.dialect is Dialect.CLASSIC
            else unified.encode_subscribe
        )
        self._encode_cancel, self._message, self._check_order = (
            (classic.encode_cancel, classic.message, classic.check_order)
            if self.dialect is Dialect.CLASSIC
            else (unified.encode_cancel, unified.message, unified.check_order)
        )
        self.batches: Final = self.dialect is Dialect.UNIFIED
        """Whether one frame may cancel several orders."""
        read = reader(self.engine)
        self._decode_fast, self._fallback_errors, self._decode_plain = (
            read.fast,
            read.refusals,
            read.plain,
        )
        self._loads = loads = plain_loads()
        channel_message = (
            classic.channel_message if self.dialect is Dialect.CLASSIC else unified.channel_message
        )

        def of_channel(text: str) -> OrdersPush | SubscribeReply | None:
            # The standard library decodes it, so that all engines agree.
            return channel_message(cast("dict[str, object]", loads(text)))

        self._channel_message = of_channel

    def __repr__(self) -> str:
        return f"Codec({self.engine}, {self.dialect})"

    # --- encoding and decoding ---

    def encode_cancel(self, order: CancelOrder, id: str) -> str:
        """Return the request to cancel `order`. The exchange's answer has the same `id`.

        An id has 1 to 40 of the characters `0-9A-Za-z_:#-+` and space. The text is ASCII: other
        characters in the instrument are written as JSON escapes.

        Raises: ValidationError for an id that the exchange would not accept, for anything other
        than a `CancelOrder`, and for an order that `check_order` refuses.
        """
        if not (type(id) is str and id.isalnum() and id.isascii() and len(id) <= 40):
            id = check_request_id(id)
        if not isinstance(order, CancelOrder):
            raise ValidationError(
                f"order must be a CancelOrder; got {safe_repr(order)}: pass CancelOrder('BTCUSDT', "
                "order_id=…)"
            )
        return self._encode_cancel(order, id)

    def encode_batch(self, orders: Sequence[CancelOrder], id: str) -> str:
        """Return the request to cancel several orders. The exchange's answer has the same `id`.

        Each order is named by its `order_id`, or by its `client_oid` if it has no `order_id`.

        Raises: ValidationError if the dialect has no batches, if there are no orders, if some of
        them have an `order_id` and others not, or if two name the same order; and for an id that
        the exchange would not accept.
        """
        id = check_request_id(id)
        if not self.batches:
            raise ValidationError(
                "classic accounts have no batches: call encode_cancel for each order, or use "
                "Dialect.UNIFIED for a unified account"
            )
        named = {prevailing_id(order) for order in orders}
        if len(named) != len(orders) or len({by_order_id for by_order_id, _ in named}) != 1:
            raise ValidationError(
                "a batch must name each order once, and all by order_id or all by client_oid; got "
                f"{len(orders)} orders with {sum(by for by, _ in named)} different order_id and "
                f"{sum(not by for by, _ in named)} different client_oid"
            )
        return unified.encode_batch(orders, id)

    def encode_subscribe(self, inst_types: Iterable[InstType] | None = None) -> str:
        """Return the request to subscribe to every change of an order.

        `inst_types` are the product lines, by default all. Unified accounts have one subscription
        for all product lines, so `inst_types` has no effect there.

        Raises: ValidationError if there are no product lines, for anything other than `InstType`
        members, and on classic accounts for a product line that only unified accounts have.
        """
        if inst_types is not None:
            given = list(inst_types) if isinstance(inst_types, Iterable) else []
            if not given or not all(isinstance(line, InstType) for line in given):
                raise ValidationError(
                    "inst_types must be one InstType or more, or None for all; got "
                    f"{safe_repr(inst_types)}"
                )
            # In the order of their definition, so that equal subscriptions have equal texts.
            inst_types = [line for line in InstType if line in given]
        return self._encode_subscribe(inst_types)

    def check_order(self, order: CancelOrder) -> None:
        """Check that the dialect can cancel this order.

        Raises: ValidationError on classic accounts for an order without an `inst_id`, or of a
        product line that only unified accounts have.
        """
        self._check_order(order)

    def encode_login(self, login: SignedLogin) -> str:
        """Return the login request. The text contains secrets: never log it."""
        return dumps({
            "op": "login",
            "args": [
                {
                    "apiKey": login.api_key,
                    "passphrase": login.passphrase,
                    "timestamp": login.timestamp,
                    "sign": login.sign,
                }
            ],
        })  # fmt: skip

    def decode(
        self,
        message: str | bytes,
        *,
        max_message: int | None = MAX_MESSAGE,
        max_depth: int | None = MAX_DEPTH,
    ) -> Message:
        """Decode one WebSocket message of the exchange.

        `max_message` limits its length (characters of a `str`, bytes of `bytes`). `max_depth`
        limits the nesting of objects and lists. The nesting is not checked in messages of up to
        `min(16 * max_depth, 512)` characters: they cannot nest deeply enough to be dangerous. None
        switches a limit off.

        Never raises for the content: a message that cannot be decoded is `Malformed`.
        """
        # Fast path of every answer: the common case needs no further call.
        if (
            (type(message) is str or type(message) is bytes)
            and (size := len(message)) <= UNCHECKED_AT_MOST
            and (max_message is None or size <= max_message)
            and (max_depth is None or size <= UNCHECKED_PER_LEVEL * max_depth)
        ):
            try:
                text = message if isinstance(message, str) else message.decode()
            except UnicodeDecodeError:
                return malformed("not UTF-8", message)
        else:
            read = read_text(message, max_message, max_depth)
            if isinstance(read, Malformed):
                return read
            text = read
        if text == PONG:
            return _PONG
        try:
            try:
                frame = self._decode_fast(text)
            except self._fallback_errors:
                frame = self._decode_plain(text)
            return self._message(frame, text, self._channel_message)
        except WrongType:
            return malformed("wrong type", text)
        except WrongShape:
            return malformed("not an object", text)
        except RecursionError:
            return malformed("too deep", text)
        except ValueError:
            return malformed("not JSON", text)

    def trade_ids(self, text: str) -> tuple[str, ...]:
        """Return the ids of the exchange's answers to a frame of your own, if it is a trade
        request.

        If the `op` of the frame is `trade`, these are the `id` of the frame (unified accounts) and
        the `id` of each object in `args` (classic accounts), if they are strings. Never raises for
        the content: the result is empty for any other frame, and for a frame that cannot be decoded
        or nests deeper than 32 levels.
        """
        read = read_text(text, None, MAX_DEPTH)
        if isinstance(read, Malformed):
            return ()
        try:
            data = self._loads(read)
        except (ValueError, RecursionError):
            return ()
        if not isinstance(data, dict):
            return ()
        request = cast("dict[str, object]", data)
        if request.get("op") != "trade":
            return ()
        args = request.get("args")
        holders: list[object] = [
            request,
            *(cast("list[object]", args) if isinstance(args, list) else [args]),
        ]
        ids = (
            cast("dict[str, object]", holder).get("id")
            for holder in holders
            if isinstance(holder, dict)
        )
        return tuple(id for id in ids if isinstance(id, str))


DEFAULT: Final = Codec()
"""The default codec, with the standard library. A codec has no state, so it can be shared."""


def encode_cancel(order: CancelOrder, id: str) -> str:
    """Call `Codec.encode_cancel` of the standard-library codec."""
    return DEFAULT.encode_cancel(order, id)


def decode(
    message: str | bytes,
    *,
    max_message: int | None = MAX_MESSAGE,
    max_depth: int | None = MAX_DEPTH,
) -> Message:
    """Call `Codec.decode` of the standard-library codec."""
    return DEFAULT.decode(message, max_message=max_message, max_depth=max_depth)
