"""A trace as a story: what was asked, what was sent, what came, and what each cancel became and why.

Rules of this file
- One line for each thing that happened; drains that end in a wait, timers that do nothing, and closing what is over tell no
  story.
- It tells what stands in the trace and decides nothing: sentences about frames are those of `bitget_proto.explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

import attrs

from bitget_proto import Codec, Trace, TraceStep, ValidationError, WhyUnresolved
from bitget_proto.explain import explain, quoted, read

_WHY: Final[Mapping[str, str]] = {why.value: why.sentence for why in WhyUnresolved}
_WORDS: Final[Mapping[str, str]] = {
    "Ready": "logged in: cancels go out from now on",
    "Dial": "a connection is wanted",
    "Up": "this connection serves from now on",
    "Down": "no connection serves any more",
    "GoingAway": "the exchange is about to drop the connection",
    "Hangup": "the connection is closed from this side",
    "LinkHangup": "the connection is closed from this side",
    "Ended": "the session is over",
    "Closed": "the connection is over",
    "LinkClosed": "the connection is over",
}


@attrs.frozen(kw_only=True)
class Moment:
    """Something that happened."""

    n: int
    """The number of the step."""

    at: float | None
    """Seconds since the first step; None where none was told."""

    link: int | None
    what: str
    """`asked`, `sent`, `came`, `happened` or `became`."""

    id: str | None = None
    """The id of the cancel that it is about."""

    text: str


def timeline(trace: Trace) -> Iterator[Moment]:
    """The story of a trace, moment by moment."""
    began: float | None = None
    sent_at: dict[str, float] = {}
    codec = Codec()
    over = False
    for step in trace:
        now: object = step.data.get("now")
        at = None
        if isinstance(now, (float, int)) and isfinite(now):
            began = now if began is None else began
            at = now - began
        gave: Any = step.data.get("gave")
        try:
            told = _told(step, gave, codec, sent_at, at)
            link = gave.get("link") if step.call == "poll" and gave else step.data.get("link")
            over = over or (
                step.call == "poll" and bool(gave) and gave["kind"] in ("Closed", "Ended")
            )
        except (KeyError, TypeError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValidationError(
                f"step {step.n} of the trace is none that a core takes: {why}"
            ) from None
        if told is not None and not (over and step.call == "close"):
            what, id, text = told
            yield Moment(n=step.n, at=at, link=link, what=what, id=id, text=text)


_Told = tuple[str, str | None, str]


def _told(
    step: TraceStep, gave: Any, codec: Codec, sent_at: dict[str, float], at: float | None
) -> _Told | None:
    data = step.data
    if "raised" in data:
        raised = data["raised"]
        return (
            "happened",
            None,
            f"{step.call} was refused: {raised['kind']}. {raised.get('message', '')}".rstrip(),
        )
    match step.call:
        case "cancel":
            order = data["order"]
            named = order.get("order_id") or f"client {order.get('client_oid')}"
            return "asked", gave, f"cancel {order['inst_id']} {named}"
        case "send":
            return "asked", None, f"send {quoted(data['text'])}"
        case "close":
            return "asked", None, "close"
        case "opened":
            return "happened", None, "connected"
        case "lost":
            return "happened", None, f"connection lost: {quoted(str(data.get('reason', '')))}"
        case "receive":
            return _came(step, codec)
        case "poll":
            return _gave(gave, sent_at, at)
        case _:
            return None


def _came(step: TraceStep, codec: Codec) -> _Told:
    message: str | bytes = step.arguments()["message"]
    frame = message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass")
    explained = explain(read(codec, frame), frame)
    parts = [explained.kind]
    if explained.code is not None:
        parts.append(f"code {explained.code}")
    if explained.code_class is not None:
        parts.append(explained.code_class.value)
    if explained.text:
        parts.append(quoted(explained.text))
    return "came", explained.id, ", ".join(parts)


def _gave(gave: dict[str, Any], sent_at: dict[str, float], at: float | None) -> _Told | None:
    kind, id = gave["kind"], gave.get("id")
    match kind:
        case "Wait":
            return None
        case "Transmit" | "LinkTransmit":
            if id is not None and at is not None:
                sent_at[id] = at
            return "sent", id, _frame(gave)
        case "Accepted":
            return "became", id, f"accepted{_after(id, sent_at, at)}"
        case "Rejected":
            said = f"rejected: {gave['code']} {gave['code_class']} {quoted(gave['message'])}"
            return "became", id, f"{said}{_after(id, sent_at, at)}"
        case "Unresolved":
            sent = (
                "sent: it may have happened"
                if gave["sent"]
                else "not sent: it cannot have happened"
            )
            code = f" ({gave['code']})" if "code" in gave else ""
            return "became", id, f"unresolved{code}, {sent}. {_WHY[gave['why']]}"
        case "LateReply":
            return (
                "happened",
                id,
                f"a late answer: {gave['code']} {gave['code_class']} {quoted(gave['message'])}",
            )
        case "Unrecognised":
            return "happened", None, f"handed on as Unrecognised: {gave['why']}"
        case "LoginRejected" | "ExchangeError":
            said = (
                "the login was refused"
                if kind == "LoginRejected"
                else "the exchange reports an error"
            )
            return (
                "happened",
                None,
                f"{said}: {gave['code']} {gave['code_class']} {quoted(gave['message'])}",
            )
        case _:
            why = f" ({gave['why']})" if "why" in gave else ""
            detail = f": {quoted(gave['detail'])}" if gave.get("detail") else ""
            return "happened", None, f"{_WORDS.get(kind, kind)}{why}{detail}"


def _frame(gave: dict[str, Any]) -> str:
    if gave.get("secret"):
        return "login (not shown)"
    return (
        "cancel"
        if "id" in gave
        else "ping"
        if gave["text"] == "ping"
        else quoted(str(gave["text"]))
    )


def _after(id: str | None, sent_at: dict[str, float], at: float | None) -> str:
    left = sent_at.get(id or "")
    return "" if left is None or at is None else f", {1000 * (at - left):.0f} ms after it was sent"
