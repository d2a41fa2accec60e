"""Turns a trace into a timeline: calls, frames sent and received, and outcomes with their reasons.

Polls that return `Wait`, timers without an effect, and a close of something already closed are left
out. Frames are explained by `bitget_proto.explain`.
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
    "Ready": "logged in; cancels can be sent",
    "Subscribed": "changes of orders are pushed from now on",
    "Dial": "a new connection is requested",
    "Up": "this connection is in use",
    "Down": "no connection is in use",
    "GoingAway": "the exchange announced that it will close the connection",
    "Hangup": "closing the connection",
    "LinkHangup": "closing the connection",
    "Ended": "the session has ended",
    "Closed": "the connection has ended",
    "LinkClosed": "the connection has ended",
}

_REFUSED: Final[Mapping[str, str]] = {
    "LoginRejected": "the login was refused",
    "SubscribeRefused": "a subscription was refused",
}


@attrs.frozen(kw_only=True)
class Moment:
    """A line of the timeline."""

    n: int
    """The number of the step."""

    at: float | None
    """Seconds since the first step; None when the step has no time."""

    link: int | None
    what: str
    """`asked`, `sent`, `came`, `happened` or `became`."""

    id: str | None = None
    """The request id of the cancel concerned."""

    text: str


def timeline(trace: Trace) -> Iterator[Moment]:
    """Yield the lines of the timeline of a trace.

    Raises: ValidationError for a step that is not valid in a trace.
    """
    began: float | None = None
    sent_at: dict[str, float] = {}
    codec = Codec(dialect=trace.dialect)
    over = False
    for step in trace:
        now: object = step.data.get("now")
        at = None
        if isinstance(now, (float, int)) and isfinite(now):
            began = now if began is None else began
            at = now - began
        gave: Any = step.data.get("gave")
        try:
            line = _describe(step, gave, codec, sent_at, at)
            link = gave.get("link") if step.call == "poll" and gave else step.data.get("link")
            over = over or (
                step.call == "poll" and bool(gave) and gave["kind"] in ("Closed", "Ended")
            )
        except (KeyError, TypeError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValidationError(f"step {step.n} of the trace is not valid: {why}") from None
        if line is not None and not (over and step.call == "close"):
            what, id, text = line
            yield Moment(n=step.n, at=at, link=link, what=what, id=id, text=text)


_Line = tuple[str, str | None, str]
"""`what`, `id` and `text` of a `Moment`."""


def _describe(
    step: TraceStep, gave: Any, codec: Codec, sent_at: dict[str, float], at: float | None
) -> _Line | None:
    data = step.data
    if "raised" in data:
        raised = data["raised"]
        return (
            "happened",
            None,
            f"{step.call} raised {raised['kind']}: {raised.get('message', '')}".removesuffix(": "),
        )
    match step.call:
        case "cancel":
            return "asked", gave, f"cancel {_order(data['order'])}"
        case "cancel_many":
            orders = [
                f"{id} {_order(order)}" for id, order in zip(gave, data["orders"], strict=True)
            ]
            return "asked", None, f"cancel {len(orders)} orders: {', '.join(orders)}"
        case "withdraw":
            return "asked", data["id"], "withdraw"
        case "send":
            return "asked", None, f"send {quoted(data['text'])}"
        case "close":
            return "asked", None, "close"
        case "opened":
            return "happened", None, "connected"
        case "lost":
            return "happened", None, f"connection lost: {quoted(str(data.get('reason', '')))}"
        case "receive":
            return _received(step, codec)
        case "poll":
            return _polled(gave, sent_at, at)
        case _:
            return None


def _received(step: TraceStep, codec: Codec) -> _Line:
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


def _polled(gave: dict[str, Any], sent_at: dict[str, float], at: float | None) -> _Line | None:
    kind, id = gave["kind"], gave.get("id")
    match kind:
        case "Wait":
            return None
        case "Transmit" | "LinkTransmit":
            ids = gave.get("ids", [])
            if at is not None:
                sent_at.update(dict.fromkeys(ids, at))
            return "sent", ids[0] if len(ids) == 1 else None, _frame(gave, ids)
        case "Accepted":
            return "became", id, f"accepted{_after(id, sent_at, at)}"
        case "Rejected":
            said = f"rejected: {gave['code']} {gave['code_class']} {quoted(gave['message'])}"
            return "became", id, f"{said}{_after(id, sent_at, at)}"
        case "Unresolved":
            sent = (
                "sent: it may have taken effect"
                if gave["sent"]
                else "not sent: it cannot have taken effect"
            )
            code = f" ({gave['code']})" if "code" in gave else ""
            return "became", id, f"unresolved{code}, {sent}. {_WHY[gave['why']]}"
        case "LateReply":
            return (
                "happened",
                id,
                f"late answer: {gave['code']} {gave['code_class']} {quoted(gave['message'])}",
            )
        case "Unrecognised":
            return "happened", None, f"message passed on as Unrecognised: {gave['why']}"
        case "CallerError":
            return "happened", None, f"{gave['where']} failed: {gave['detail']}"
        case "OrderUpdate":
            order = gave["order_id"] or gave["client_oid"]
            return "happened", None, f"order {quoted(order)}: {quoted(gave['status_text'])}"
        case "LoginRejected" | "SubscribeRefused" | "ExchangeError":
            said = _REFUSED.get(kind, "the exchange reported an error")
            return (
                "happened",
                None,
                f"{said}: {gave['code']} {gave['code_class']} {quoted(gave['message'])}",
            )
        case _:
            why = f" ({gave['why']})" if "why" in gave else ""
            detail = f": {quoted(gave['detail'])}" if gave.get("detail") else ""
            return "happened", None, f"{_WORDS.get(kind, kind)}{why}{detail}"


def _order(order: dict[str, Any]) -> str:
    named = order.get("order_id") or f"client {order['client_oid']}"
    return f"{order.get('inst_id', 'order')} {named}"


def _frame(gave: dict[str, Any], ids: list[str]) -> str:
    if gave.get("secret"):
        return "login (not shown)"
    if ids:
        return "cancel" if len(ids) == 1 else f"{len(ids)} cancels: {', '.join(ids)}"
    return "ping" if gave["text"] == "ping" else quoted(str(gave["text"]))


def _after(id: str | None, sent_at: dict[str, float], at: float | None) -> str:
    left = sent_at.get(id or "")
    return "" if left is None or at is None else f", {1000 * (at - left):.0f} ms after sending"
