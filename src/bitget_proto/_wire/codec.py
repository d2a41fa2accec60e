"""Text to typed messages and back: the one file that knows how the exchange spells things.

Rules of this file
- Strict in what it writes: the page's request, byte for byte, in the page's order of fields.
- Tolerant in what it reads. `decode` never raises for what a frame says: at worst a frame is `Malformed`.
- Nothing is compared or remembered from frame to frame.

It does not know which requests are in flight, what time it is, or what a code means.

What the exchange's side reads and writes is in `exchange_codec`.

The page is «Cancel Order Channel» of the exchange's V2 Websocket API. Where a recorded frame and the page disagree, both
are read:
- «code | String»; recorded on this channel as a number. The newer V3 channel has a string again.
- «arg | Object» in the table, but a list of one object in the page's example and in every recorded trade reply.
- `ts` and, elsewhere, `connId` are in no table. Any key may appear at any time.
- the page's example of a failure has `event: "trade"` and code 0; recorded refusals have `event: "error"`.
"""

from __future__ import annotations

import json
import re
from types import MappingProxyType
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
from .messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    MalformedReason,
    Message,
    Other,
    Pong,
    TradeReply,
)

PING: Final = "ping"
"""The heartbeat: a bare text, not JSON, and not a WebSocket ping frame, which does not count."""

PONG: Final = "pong"

_MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader reads alike (RFC 7493)."""

_EXCERPT = 100
MAX_MESSAGE: Final = 65536
MAX_DEPTH: Final = 32
_SHORT = 16
"""Up to so many characters for each level that is allowed, brackets are not counted: it takes longer than reading a reply, …"""
_SHORT_AT_MOST = 512
"""… nor ever beyond these: 8000 levels end the interpreter where a thread's stack is small, however many were allowed."""

_CHANNEL = "cancel-order"
"""The `channel` of a request to cancel and of its answer; `topic` for unified accounts."""

_PONG = Pong()

_dumps = json.JSONEncoder(separators=(",", ":")).encode
_drop_strings = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL).sub
_drop_all_but_brackets = re.compile(r"[^][}{]++").sub
_ONE_KIND = MappingProxyType(str.maketrans("{}", "[]"))


@set_module("bitget_proto")
class Codec:
    """The wire format, with the JSON engine of your choice; share one between connections or give each its own.

    `Codec()` reads with the standard library, `Codec(Engine.MSGSPEC)` or `Codec("msgspec")` with that engine,
    `Codec(fastest())` with the fastest that is installed. Whatever the engine, a frame means the same.

    Raises: ImportError, with the command that mends it, when the engine is not installed; ValidationError for what is none.
    """

    __slots__ = ("_fast", "_loads", "_plain", "_refusals", "engine")

    def __init__(self, engine: Engine | EngineName = Engine.STDLIB) -> None:
        try:
            self.engine: Final = Engine(engine)
        except ValueError:
            names = ", ".join(repr(member.value) for member in Engine)
            raise ValidationError(
                f"engine must be an Engine, or one of the names {names}; got {safe_repr(engine)}"
            ) from None
        read = reader(self.engine)
        self._fast, self._refusals, self._plain = read.fast, read.refusals, read.plain
        self._loads = plain_loads()

    def __repr__(self) -> str:
        return f"Codec({self.engine})"

    # --- what a client writes and reads ---

    def encode_cancel(self, order: CancelOrder, id: str) -> str:
        """The request that cancels `order`, to be answered under `id` (1 to 40 of `0-9A-Za-z_:#-+` and the space).

        The text is ASCII: an instrument in another script is written with the escapes of JSON.

        Raises: ValidationError for an id that the exchange would not take.
        """
        if not (type(id) is str and id.isalnum() and id.isascii() and len(id) <= 40):
            id = check_request_id(id)
        if not isinstance(order, CancelOrder):
            raise ValidationError(
                f"order must be a CancelOrder; got {safe_repr(order)}: pass CancelOrder('BTCUSDT', order_id=…)"
            )
        order_id, client_oid, inst_id = order.order_id, order.client_oid, order.inst_id
        if client_oid is None and inst_id.isascii():
            # The usual order, in one piece: a fifth faster than in two.
            return (
                f'{{"op":"trade","args":[{{"id":"{id}","instType":"{order.inst_type._value_}","instId":"{inst_id}",'
                f'"channel":"cancel-order","params":{{"orderId":"{order_id}"}}}}]}}'
            )
        params = "" if order_id is None else f'"orderId":"{order_id}"'
        if client_oid is not None:
            params += f'{"," if params else ""}"clientOid":{_quoted(client_oid)}'
        return (
            f'{{"op":"trade","args":[{{"id":"{id}","instType":"{order.inst_type._value_}","instId":{_quoted(inst_id)},'
            f'"channel":"cancel-order","params":{{{params}}}}}]}}'
        )

    def encode_login(self, login: SignedLogin) -> str:
        """The login request. It holds secrets: the text is for the wire alone."""
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
        """What an exchange says in one WebSocket message.

        `max_message` bounds its length (characters of a `str`, bytes of `bytes`), `max_depth` the nesting of its objects
        and lists, in messages of more than 16 characters for each level, or more than 512: shorter ones cannot nest so deep
        that it would harm. None switches a bound off. Never raises for content: what cannot be read is `Malformed`.
        """
        # On the way of every answer: what is usual is seen here, without a call.
        if (
            (type(message) is str or type(message) is bytes)
            and (size := len(message)) <= _SHORT_AT_MOST
            and (max_message is None or size <= max_message)
            and (max_depth is None or size <= _SHORT * max_depth)
        ):
            try:
                text = message if isinstance(message, str) else message.decode()
            except UnicodeDecodeError:
                return _malformed("not UTF-8", message)
        else:
            read = read_text(message, max_message, max_depth)
            if isinstance(read, Malformed):
                return read
            text = read
        if text == PONG:
            return _PONG
        try:
            try:
                frame = self._fast(text)
            except self._refusals:
                frame = self._plain(text)
        except WrongType:
            return _malformed("wrong type", text)
        except WrongShape:
            return _malformed("not an object", text)
        except RecursionError:
            return _malformed("too deep", text)
        except ValueError:
            return _malformed("not JSON", text)
        return _message(frame)

    def trade_ids(self, text: str) -> tuple[str, ...]:
        """The ids under which the exchange answers a client's own frame, when that is a trade request; else none.

        Of a frame whose `op` is `trade` these are the `id` of the frame (unified accounts) and the `id` of each object
        in `args` (classic accounts), as far as they are strings. Never raises for what `text` holds: what cannot be read,
        or nests deeper than 32 levels, has none.
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


# --- reading what an exchange says ---


def read_text(
    message: str | bytes, max_message: int | None, max_depth: int | None
) -> str | Malformed:
    """The message as text within its bounds, or why it is not."""
    if not isinstance(message, (str, bytes)):
        raise ValidationError(f"message must be str or bytes; got {safe_repr(message)}")
    if max_message is not None and len(message) > max_message:
        return _malformed("too large", message)
    if isinstance(message, str):
        text = message if type(message) is str else str.__str__(message)
    else:
        try:
            text = message.decode()
        except UnicodeDecodeError:
            return _malformed("not UTF-8", message)
    if (
        max_depth is not None
        and len(text) > min(_SHORT * max_depth, _SHORT_AT_MOST)
        and _is_deeper(text, max_depth)
    ):
        return _malformed("too deep", text)
    return text


def _is_deeper(text: str, limit: int) -> bool:
    """Whether objects and lists nest deeper than `limit`.

    Of the text only the brackets outside strings are kept, and pair by pair the innermost taken away: so often as it
    nests. Each step runs through the text once, so that nothing a peer may send takes long.
    """
    if text.count("{") + text.count("[") <= limit:
        return False
    brackets = _drop_all_but_brackets("", _drop_strings("", text)).translate(_ONE_KIND)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace("[]", "")
    return "[]" in brackets or brackets.count("[") > limit


def _malformed(reason: MalformedReason, message: str | bytes) -> Malformed:
    # A character is four bytes at most, so that the last one that is kept is whole.
    return Malformed(reason, as_text(message[: 4 * _EXCERPT])[:_EXCERPT])


def as_text(message: str | bytes) -> str:
    """A message as text, whatever its bytes are: an escape for each that is no UTF-8."""
    return message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")


def _message(frame: Frame) -> Message:
    event = frame.event
    if event == "trade":
        made: type[TradeReply | ErrorReply] = TradeReply
    elif event == "error":
        made = ErrorReply
    elif event == "login":
        return LoginReply(read_code(frame.code), _words(frame.msg))
    else:
        return Other(event)
    # On the way of every answer: what is usual is seen here, without a call.
    arg = frame.arg
    channel = None
    if type(arg) is list and len(arg) == 1 and type(id := (entry := arg[0]).id) is str:
        names_request, channel = True, entry.channel
    else:
        id, names_request = _addressee(arg)
        if arg:
            channel = (arg[0] if isinstance(arg, list) else arg).channel
    topic, op = frame.topic, frame.op
    answers_other = not (
        (channel == _CHANNEL or channel is None)
        and (topic is None or topic == _CHANNEL)
        and (op is None or op in ("trade", "login"))
    )
    code = frame.code
    code = "0" if code == 0 and type(code) is int else read_code(code)
    words = frame.msg
    if type(words) is not str or not words.isascii():
        words = _words(words)
    ts = frame.ts
    if type(ts) is not int or not 0 <= ts <= _MAX_SAFE_INTEGER:
        ts = _milliseconds(ts)
    return made(id, names_request, code, words, ts, answers_other)


def _addressee(arg: list[Entry] | Entry | None) -> tuple[str | None, bool]:
    """The id of the one request that is named, and whether any is.

    An id that is no string is never equal to ours, though it names something; an empty list names nothing. Several
    entries cannot be told apart from several answers, so they resolve nothing.
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
    """A JSON integer from 0 to 2**53-1, or a string of up to 12 ASCII digits ("00000" in REST), without leading zeros."""
    if type(value) is int:
        return str(value) if 0 <= value <= _MAX_SAFE_INTEGER else None
    if type(value) is str and len(value) <= 12 and value.isascii() and value.isdigit():
        return value.lstrip("0") or "0"
    return None


def _words(value: object) -> str:
    """Text for people; an escaped half of a surrogate pair, which no terminal or log file takes, is shown as its escape."""
    if type(value) is not str:
        return ""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _milliseconds(value: object) -> int | None:
    """Milliseconds since 1970: a number on this channel, a string on V3."""
    if type(value) is str and len(value) <= 16 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MAX_SAFE_INTEGER else None


# --- writing ---


def _quoted(value: str) -> str:
    """A JSON string, in ASCII. The values of an order hold no control characters."""
    return (
        f'"{value}"'
        if value.isascii() and '"' not in value and "\\" not in value
        else _dumps(value)
    )


DEFAULT: Final = Codec()
"""The standard-library codec: a codec holds no state, so that one serves all who ask for no other."""


def encode_cancel(order: CancelOrder, id: str) -> str:
    """`Codec.encode_cancel` of the standard-library codec."""
    return DEFAULT.encode_cancel(order, id)


def decode(
    message: str | bytes,
    *,
    max_message: int | None = MAX_MESSAGE,
    max_depth: int | None = MAX_DEPTH,
) -> Message:
    """`Codec.decode` of the standard-library codec."""
    return DEFAULT.decode(message, max_message=max_message, max_depth=max_depth)
