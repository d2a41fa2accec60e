"""Explains frames and codes, as text for people and as data for programs.

An explanation describes what `Connection` does; tests check that both agree on the outcome for
every code. Control characters, direction marks and invisible characters from a peer are escaped, as
are characters that the output encoding lacks. The secrets of a login are never shown. An unreadable
frame that may contain secrets is not shown at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

import attrs

from ._values.codes import (
    ASK_FOR_ACCESS,
    CODES,
    FATAL_ERRORS,
    NEVER_ANSWERED,
    NOT_THE_LOGINS_ANSWER,
    NOTES,
    REFUSALS,
    TOO_MANY_REQUESTS,
    CodeClass,
)
from ._values.dialects import Dialect
from ._values.foreign_symbols import meant_instrument
from ._values.orders import InstType
from ._wire.codec import Codec
from ._wire.exchange_codec import decode_request
from ._wire.messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    OrdersPush,
    Other,
    Pong,
    SubscribeReply,
    TradeReply,
)
from ._wire.requests import (
    BadRequest,
    BatchRequest,
    CancelRequest,
    LoginRequest,
    OtherRequest,
    Ping,
    Request,
)

__all__ = [
    "ASK_FOR_ACCESS",
    "NEVER_ANSWERED",
    "Explained",
    "at_a_shell",
    "code_table",
    "encodable",
    "explain",
    "explain_code",
    "meant_instrument",
    "outcome_of",
    "printable",
    "quoted",
    "read",
]

_LONGEST = 200
"""The maximum number of characters shown of a text from a peer."""

_NO_OP = "30003"

_INVISIBLE = frozenset(
    chr(point)
    for points in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),  # joiners and fillers
        range(0x180B, 0x1810),  # Mongolian variation selectors
        range(0xFE00, 0xFE10),  # variation selectors
        range(0xE0100, 0xE01F0),
    )
    for point in points
)
"""Invisible characters that `str.isprintable` accepts (Unicode: Default_Ignorable_Code_Point)."""

_of_a_login = re.compile(r"login|apikey|passphrase|sign|secret", re.IGNORECASE).search
_escaped_letter = re.compile(r"\\u00([4-7][0-9a-f])", re.IGNORECASE)

_inst_type = re.compile(r"inst_type=InstType\.([A-Z_]+)")

_ONE_OUTCOME = "A request to cancel an order. It gets exactly one outcome, under this id."


@attrs.frozen(kw_only=True)
class Explained:
    """The explanation of one frame. Texts are unescaped; `lines` and `as_json` escape them."""

    side: str | None
    """The sender, `exchange` or `client`; None if it cannot be determined."""

    kind: str
    """The name of the message class."""

    id: str | None = None
    code: str | None = None
    code_class: CodeClass | None = None
    exchange_ts: int | None = None
    text: str | None = None
    """The exchange's text for people, an event, an op, or the beginning of an unreadable frame."""

    outcome: str | None = None
    """The outcome of the cancel that the frame answers; None if the frame settles no cancel."""

    means: str
    """What the frame means for a cancel."""

    def lines(self, number: int) -> str:
        """Return two lines for people, the first with the number of the frame."""
        parts = [self.kind if self.side is None else f"{self.side} {self.kind}"]
        if self.id is not None:
            parts.append(f"id {quoted(self.id)}")
        if self.code is not None:
            parts.append(f"code {self.code}")
        if self.code_class is not None:
            parts.append(self.code_class.value)
        if self.text:
            parts.append(quoted(self.text))
        means = self.means if self.outcome is None else f"{self.outcome}: {self.means}"
        return f"{number}: {', '.join(parts)}\n   {printable(means)}\n"

    def as_json(self, number: int) -> str:
        """Return one line of ASCII JSON; decoding it gives the peer's texts unchanged."""
        plain = attrs.asdict(self) | {
            "code_class": None if self.code_class is None else self.code_class.value
        }
        # JSON does not escape the delete character.
        return json.dumps({"line": number, **plain}).replace("\x7f", "\\u007f") + "\n"


def read(codec: Codec, frame: bytes) -> Message | Request:
    """Decode a frame of either side.

    A frame is the client's if it is a `ping`, or has an `op` and no event. Any other frame is the
    exchange's.
    """
    message = codec.decode(frame)
    if isinstance(message, Malformed) or (isinstance(message, Other) and message.event is None):
        request = decode_request(frame, dialect=codec.dialect)
        if not (
            isinstance(request, Malformed)
            or (isinstance(request, BadRequest) and request.code == _NO_OP)
        ):
            return request
    return message


def explain(message: Message | Request, frame: bytes) -> Explained:
    """Explain a message that was decoded from `frame`."""
    kind = type(message).__name__
    match message:
        case TradeReply() | ErrorReply():
            return _reply(message)
        case LoginReply():
            return Explained(
                side="exchange", kind=kind, code=message.code, code_class=message.code_class,
                text=message.message, means=_login_means(message),
            )  # fmt: skip
        case Pong():
            return Explained(
                side="exchange", kind=kind, means="The answer to a ping: the exchange is alive."
            )
        case OrdersPush(updates=updates, unreadable=unreadable):
            states = [
                f"{update.order_id or update.client_oid} {update.status_text}" for update in updates
            ]
            return Explained(
                side="exchange", kind=kind, text=", ".join(states) or None,
                means="A push about orders: an OrderUpdate for each. It settles no cancel."
                + (f" Not readable: {unreadable}." if unreadable else ""),
            )  # fmt: skip
        case SubscribeReply(inst_type=inst_type, accepted=accepted):
            named = "all product lines" if inst_type is None else inst_type.value
            what = "Pushes about orders follow" if accepted else "There are no pushes about orders"
            return Explained(
                side="exchange", kind=kind, code=message.code, code_class=message.code_class,
                text=message.message or None, means=f"{what}, for {named}. It settles no cancel.",
            )  # fmt: skip
        case Other(event=event):
            what = (
                "An event for the caller"
                if event is not None
                else "No event and no readable op: a push or something else for the caller"
            )
            return Explained(
                side="exchange",
                kind=kind,
                text=event,
                means=f"{what}, emitted as Unrecognised. It settles no cancel.",
            )
        case CancelRequest(id=id, order=order):
            ids = (("the order", order.order_id), ("your own id", order.client_oid))
            named = ", ".join(f"{name} {value}" for name, value in ids if value is not None)
            line = None if order.inst_type is None else order.inst_type.value
            place = " ".join(part for part in (line, order.inst_id) if part is not None)
            text = f"{place}, {named}" if place else named
            return Explained(side="client", kind=kind, id=id, text=text, means=_ONE_OUTCOME)
        case BatchRequest(id=id, orders=orders):
            return Explained(
                side="client", kind=kind, id=id, text=f"{len(orders)} orders",
                means="A request to cancel several orders. Each gets exactly one outcome.",
            )  # fmt: skip
        case LoginRequest():
            return Explained(
                side="client",
                kind=kind,
                means="A request to log in. Its content is secret and not shown.",
            )
        case Ping():
            return Explained(side="client", kind=kind, means="The heartbeat: a pong must follow.")
        case OtherRequest(op=op):
            return Explained(
                side="client", kind=kind, text=op, means="Neither a login nor a cancel."
            )
        case BadRequest(code=code, message=why):
            return Explained(
                side="client", kind=kind, code=code, code_class=CodeClass.of(code), text=why,
                means="It breaks the rules of the page and is refused: nothing is cancelled.",
            )  # fmt: skip
        case _:
            hidden = _may_hold_secrets(frame)
            return Explained(
                side=None, kind=kind, text=None if hidden else message.excerpt,
                means=f"It cannot be read ({message.reason}), and settles no cancel."
                + (" It may be a login, so no part of it is shown." if hidden else ""),
            )  # fmt: skip


def outcome_of(code_class: CodeClass) -> str:
    """Return the outcome of a cancel that is answered with a code of this class."""
    if code_class is CodeClass.ACCEPTED:
        return "Accepted"
    return "Rejected" if code_class in REFUSALS else "Unresolved"


def explain_code(code: str) -> str:
    """Return lines that explain a code, once if it means the same on both kinds of account.

    The code is a decimal string without leading zeros. If it does not mean the same on classic and
    unified accounts, there are lines for each kind.
    """
    classes = {dialect: CodeClass.of(code, dialect) for dialect in Dialect}
    if len(set(classes.values())) == 1:
        return _about_code(code, "", classes[Dialect.CLASSIC])
    return "".join(
        _about_code(code, f" on {dialect.value} accounts", code_class)
        for dialect, code_class in classes.items()
    )


def _about_code(code: str, where: str, code_class: CodeClass) -> str:
    lines = [f"{code}{where}: {code_class.value}", f"   {code_class.sentence}"]
    if code in NOTES and code_class is not CodeClass.UNLISTED:
        lines.append(f"   {NOTES[code]}")
    lines.append(f"   A cancel that is answered with it ends {outcome_of(code_class)}.")
    if code_class is CodeClass.ACCEPTED:
        lines.append("   An error with this code contradicts itself: the cancel ends Unresolved.")
    else:
        lines.append(f"   {_without_id(code, code_class)}")
    return "\n".join(lines) + "\n"


def code_table() -> Iterator[str]:
    """Yield lines about all classes and their codes."""
    for code_class in CodeClass:
        yield f"{code_class.value} ({outcome_of(code_class)}): {code_class.sentence}\n"
        for code, accounts in codes_of(code_class).items():
            yield f"   {code:<6} {accounts:<7} {NOTES.get(code, '')}".rstrip() + "\n"


def codes_of(code_class: CodeClass) -> dict[str, str]:
    """Return the codes of a class, each with the accounts that know it: both, classic, unified."""
    known = {dialect: CODES[dialect].get(code_class, ()) for dialect in Dialect}
    found = {
        code: [dialect.value for dialect, codes in known.items() if code in codes]
        for code in dict.fromkeys(code for codes in known.values() for code in codes)
    }
    return {code: "both" if len(on) == len(Dialect) else on[0] for code, on in found.items()}


# --- sentences ---


def _reply(reply: TradeReply | ErrorReply) -> Explained:
    code_class, outcome = reply.code_class, None
    if reply.not_for_cancel and not reply.for_batch:
        means = "It answers something other than a cancel, and settles none."
    elif reply.id is not None and isinstance(reply, TradeReply) and reply.not_for_cancel:
        means = f"The answer to a batch: {_items(reply)}"
    elif reply.id is not None:
        outcome, means = outcome_of(code_class), code_class.sentence
    elif reply.names_request:
        means = (
            "It names no single request by a string id. It is emitted as Unrecognised and settles "
            "no cancel."
        )
    elif isinstance(reply, TradeReply):
        means = (
            "It does not say which request it answers. It is emitted as Unrecognised and settles "
            "no cancel."
        )
    else:
        means = f"{code_class.sentence} {_without_id(reply.code, code_class)}"
    return Explained(
        side="exchange", kind=type(reply).__name__, id=reply.id, code=reply.code,
        code_class=code_class, exchange_ts=reply.exchange_ts, text=reply.message, outcome=outcome,
        means=means,
    )  # fmt: skip


def _items(reply: TradeReply) -> str:
    """Return what the answer to a batch means for each order that it names."""
    if reply.code_class is not CodeClass.ACCEPTED:
        return f"{reply.code_class.sentence} This applies to each order of the batch."
    found = [
        f"{item.order_id or item.client_oid}: {outcome_of(CodeClass.of(item.code, reply.dialect))}"
        for item in reply.orders
    ]
    return "; ".join([*found, "any other order of the batch: Unresolved"]) + "."


def _without_id(code: str | None, code_class: CodeClass) -> str:
    """Return the effect of an error that names no request."""
    means = "An error without an id settles no cancel, not even the only one in flight"
    if code_class not in NOT_THE_LOGINS_ANSWER:
        means += "; while a login is pending it refuses the login, and the connection ends"
    if code == TOO_MANY_REQUESTS:
        means += "; the rate limits pause for a second"
    if code in FATAL_ERRORS:
        means += f"; once logged in, it ends the connection ({FATAL_ERRORS[code]})"
    return f"{means}."


def _login_means(reply: LoginReply) -> str:
    if reply.code is None:
        return "It has no readable code, so nothing follows from it."
    if reply.code_class is CodeClass.ACCEPTED:
        return "Logged in: cancels are sent from now on."
    return f"{reply.code_class.sentence} The login is refused, and the connection ends."


# --- text from a peer ---


def _may_hold_secrets(frame: bytes) -> bool:
    """Return whether an unreadable frame looks like a login or a part of one, in any encoding."""
    text = _escaped_letter.sub(
        lambda match: chr(int(match[1], 16)), frame.replace(b"\0", b"").decode("latin-1")
    )
    return _of_a_login(text) is not None


def printable(text: str) -> str:
    """Return the text with control, direction and invisible characters escaped."""
    return "".join(
        char
        if char.isprintable() and char not in _INVISIBLE
        else char.encode("unicode_escape").decode()
        for char in text
    )


def quoted(text: str) -> str:
    """Return a peer's text in quotes, printable and of limited length."""
    start = text[:_LONGEST].replace("\\", "\\\\").replace('"', '\\"')
    more = f"... ({len(text)} characters)" if len(text) > _LONGEST else ""
    return f'"{printable(start)}"{more}'


def at_a_shell(text: str) -> str:
    """Replace arguments of `CancelOrder` in an error message with the command-line options."""
    return _inst_type.sub(lambda match: f"--inst-type {InstType[match[1]].value}", text)


def encodable(text: str, encoding: str | None) -> str:
    """Return the text with characters that the encoding lacks escaped; None stands for ASCII."""
    known: Final = encoding or "ascii"
    return text.encode(known, "backslashreplace").decode(known)
