"""The codec of a client: encodes requests and decodes messages of the exchange.

The codec of the exchange's side is in `exchange_codec`.

"The page" below is "Cancel Order Channel" of the exchange's V2 Websocket API.

Rules for changes
- Encoding is strict: requests match the page byte for byte, with its order of fields.
- Decoding is tolerant: `decode` never raises for the content of a frame, but returns `Malformed`.
- The codec keeps no state between frames.

Where recorded frames differ from the page, both forms are accepted:
- The page types `code` as a string ("code | String"), but V2 frames carry a number (V3 uses a
  string).
- It types `arg` as an object ("arg | Object"), but its own example and every recorded trade reply
  have a list of one.
- `ts`, and `connId` in other messages, are undocumented. Any key may appear at any time.
- The page's example of a failure has `event: "trade"` and code 0; recorded refusals have
  `event: "error"`.
"""

from __future__ import annotations

import json
from typing import Final, cast

from .._values.credentials import SignedLogin
from .._values.errors import ValidationError, safe_repr
from .._values.orders import CancelOrder, check_request_id
from .._values.set_module import set_module
from .json_engines import (
    Engine,
    EngineName,
    Entry,
    Frame,
    WrongShape,
    WrongType,
    plain_loads,
    reader,
)
from .message_limits import (
    MAX_DEPTH,
    MAX_MESSAGE,
    UNCHECKED_AT_MOST,
    UNCHECKED_PER_LEVEL,
    malformed,
    read_text,
)
from .messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    Other,
    Pong,
    TradeReply,
)

PING: Final = "ping"
"""The heartbeat: bare text, not JSON. A WebSocket ping frame does not count."""

PONG: Final = "pong"

_MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that all JSON decoders agree on (RFC 7493)."""

_CHANNEL = "cancel-order"
"""The `channel` of a cancel request and of its answer; `topic` for unified accounts."""

_PONG = Pong()

_dumps = json.JSONEncoder(separators=(",", ":")).encode


@set_module("bitget_proto")
class Codec:
    """Encodes and decodes frames, with a JSON engine of your choice. Connections may share a codec.

    `Codec()` decodes with the standard library, `Codec(Engine.MSGSPEC)` or `Codec("msgspec")` with
    that engine, `Codec(fastest())` with the fastest installed one. The result does not depend on
    the engine.

    Raises: ImportError, with the command to install it, if the engine is not installed;
    ValidationError if `engine` is not an engine.
    """

    __slots__ = ("_decode_fast", "_decode_plain", "_fallback_errors", "_loads", "engine")

    def __init__(self, engine: Engine | EngineName = Engine.STDLIB) -> None:
        try:
            self.engine: Final = Engine(engine)
        except ValueError:
            names = ", ".join(repr(member.value) for member in Engine)
            raise ValidationError(
                f"engine must be an Engine, or one of the names {names}; got {safe_repr(engine)}"
            ) from None
        read = reader(self.engine)
        self._decode_fast, self._fallback_errors, self._decode_plain = (
            read.fast,
            read.refusals,
            read.plain,
        )
        self._loads = plain_loads()

    def __repr__(self) -> str:
        return f"Codec({self.engine})"

    # --- encoding and decoding ---

    def encode_cancel(self, order: CancelOrder, id: str) -> str:
        """Return the request to cancel `order`, to be answered under `id`.

        An id has 1 to 40 of the characters `0-9A-Za-z_:#-+` and space. The text is ASCII: other
        characters in the instrument are written as JSON escapes.

        Raises: ValidationError for an id that the exchange would not accept.
        """
        if not (type(id) is str and id.isalnum() and id.isascii() and len(id) <= 40):
            id = check_request_id(id)
        if not isinstance(order, CancelOrder):
            raise ValidationError(
                f"order must be a CancelOrder; got {safe_repr(order)}: pass CancelOrder('BTCUSDT', "
                "order_id=…)"
            )
        order_id, client_oid, inst_id = order.order_id, order.client_oid, order.inst_id
        if client_oid is None and inst_id.isascii():
            # Fast path for the common case: a single f-string is a fifth faster than two.
            return (
                f'{{"op":"trade","args":[{{"id":"{id}","instType":"{order.inst_type._value_}",'
                f'"instId":"{inst_id}","channel":"cancel-order",'
                f'"params":{{"orderId":"{order_id}"}}}}]}}'
            )
        params = "" if order_id is None else f'"orderId":"{order_id}"'
        if client_oid is not None:
            params += f'{"," if params else ""}"clientOid":{_quoted(client_oid)}'
        return (
            f'{{"op":"trade","args":[{{"id":"{id}","instType":"{order.inst_type._value_}",'
            f'"instId":{_quoted(inst_id)},"channel":"cancel-order","params":{{{params}}}}}]}}'
        )

    def encode_login(self, login: SignedLogin) -> str:
        """Return the login request. The text contains secrets: never log it."""
        return _dumps({
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
        limits the nesting of objects and lists. Messages of up to `min(16 * max_depth, 512)`
        characters are not checked for it: they are too short to nest dangerously. None switches a
        limit off.

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
        except WrongType:
            return malformed("wrong type", text)
        except WrongShape:
            return malformed("not an object", text)
        except RecursionError:
            return malformed("too deep", text)
        except ValueError:
            return malformed("not JSON", text)
        return _message(frame)

    def trade_ids(self, text: str) -> tuple[str, ...]:
        """Return the ids under which the exchange answers a trade request in a frame of your own.

        If the `op` of the frame is `trade`, these are the `id` of the frame (unified accounts) and
        the `id` of each object in `args` (classic accounts), if they are strings. Never raises for
        the content: any other frame, one that cannot be decoded, or one that nests deeper than 32
        levels has no ids.
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


# --- decoding ---


def _message(frame: Frame) -> Message:
    event = frame.event
    if event == "trade":
        made: type[TradeReply | ErrorReply] = TradeReply
    elif event == "error":
        made = ErrorReply
    elif event == "login":
        return LoginReply(read_code(frame.code), _readable_text(frame.msg))
    else:
        return Other(event)
    # Fast path of every answer: the common case needs no further call.
    arg = frame.arg
    channel = None
    if type(arg) is list and len(arg) == 1 and type(id := (entry := arg[0]).id) is str:
        names_request, channel = True, entry.channel
    else:
        id, names_request = _named_request(arg)
        if arg:
            channel = (arg[0] if isinstance(arg, list) else arg).channel
    topic, op = frame.topic, frame.op
    not_for_cancel = not (
        (channel == _CHANNEL or channel is None)
        and (topic is None or topic == _CHANNEL)
        and (op is None or op == "trade" or (op == "login" and not names_request))
    )
    code = frame.code
    code = "0" if code == 0 and type(code) is int else read_code(code)
    words = frame.msg
    if type(words) is not str or not words.isascii():
        words = _readable_text(words)
    ts = frame.ts
    if type(ts) is not int or not 0 <= ts <= _MAX_SAFE_INTEGER:
        ts = _milliseconds(ts)
    return made(id, names_request, code, words, ts, not_for_cancel)


def _named_request(arg: list[Entry] | Entry | None) -> tuple[str | None, bool]:
    """Return the id of the single request that is named, and whether any request is named.

    - `(id, True)`: exactly one entry with a string id.
    - `(None, True)`: an id that is not a string, or several entries, so no single cancel can be
      matched.
    - `(None, False)`: no entry, or an entry without an id.
    """
    if arg is None:
        return None, False
    if isinstance(arg, list):
        if len(arg) != 1:
            return None, bool(arg)
        arg = arg[0]
    id = arg.id
    if type(id) is str:
        return id, True
    return None, id is not None


def read_code(value: object) -> str | None:
    """Return a code as a decimal string without leading zeros; None if it is not a code.

    A code is a JSON integer from 0 to 2**53-1, or a string of up to 12 ASCII digits ("00000" in
    REST).
    """
    if type(value) is int:
        return str(value) if 0 <= value <= _MAX_SAFE_INTEGER else None
    if type(value) is str and len(value) <= 12 and value.isascii() and value.isdigit():
        return value.lstrip("0") or "0"
    return None


def _readable_text(value: object) -> str:
    """Return text for people, with unpaired surrogates escaped.

    Terminals and log files cannot encode unpaired surrogates.
    """
    if type(value) is not str:
        return ""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _milliseconds(value: object) -> int | None:
    """Return milliseconds since 1970: a number on this channel, a string on V3."""
    if type(value) is str and len(value) <= 16 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MAX_SAFE_INTEGER else None


# --- encoding ---


def _quoted(value: str) -> str:
    """Return an ASCII JSON string. The values of an order contain no control characters."""
    return (
        f'"{value}"'
        if value.isascii() and '"' not in value and "\\" not in value
        else _dumps(value)
    )


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
