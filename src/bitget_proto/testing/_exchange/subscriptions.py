"""Subscriptions of the scripted exchange's clients, and the pushes for them.

Every subscription gets its own answer, an acknowledgement or an error, so that other clients stay
connected. Only the order channel has pushes: for orders that are placed, filled or cancelled. The
exchange's side of the channels' wire format is defined here and not in the codec, because
`Connection` does not use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from ..._values.dialects import Dialect
from ..._values.orders import InstType
from ..._wire.exchange_codec import encode_event
from .order_book import BookOrder
from .order_shapes import pushed

PRIVATE: Final = frozenset({
    "account", "account-crossed", "account-isolated", "adl-noti", "equity", "fill", "orders", "orders-algo", "orders-crossed",
    "orders-isolated", "positions", "positions-history",
})  # fmt: skip
"""The private channels of the V2 Websocket API: spot, margin and futures."""

_UNIFIED: Final = frozenset({"account", "fill", "fast-fill", "order", "position"})
"""The private topics of unified accounts."""

MAX_SUBSCRIPTIONS: Final = 1000
""""Max 1000 channel subscription/connection" (Websocket API, Connect)."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Channels:
    """The subscriptions of one connection. With `lenient`, any channel is acknowledged."""

    def __init__(self, dialect: Dialect, *, lenient: bool) -> None:
        self._dialect = dialect
        self._lenient = lenient
        self._subscribed: dict[str, dict[str, Any]] = {}
        """The argument of each subscription, by its JSON text."""

    def __len__(self) -> int:
        return len(self._subscribed)

    def answers(self, op: str, text: str, *, ready: bool) -> Iterator[str]:
        """Yield the answers to a request that is not a login, a cancel or a placement.

        `ready` is whether the client is logged in.
        """
        args: object = json.loads(text).get("args")
        if op not in ("subscribe", "unsubscribe"):
            yield self._error("30003", f"op {op} is not supported", None)
        elif not isinstance(args, list) or not args:
            yield self._error("30001", f"no channel is named to {op}", None)
        else:
            for arg in cast("list[object]", args):
                yield self._answer(op, arg, ready=ready)

    def pushes(self, placed: BookOrder, exchange_ts: int) -> Iterator[str]:
        """Yield the pushes for an order that has changed, one for each matching subscription."""
        for arg in self._subscribed.values():
            if self._matches(arg, placed):
                data = [pushed(placed, self._dialect, exchange_ts)]
                yield _dumps({"action": "snapshot", "arg": arg, "data": data, "ts": exchange_ts})

    def _matches(self, arg: dict[str, Any], placed: BookOrder) -> bool:
        if self._dialect is Dialect.UNIFIED:
            return arg["topic"] == "order" and arg.get("instType") == "UTA"
        return (
            arg["channel"] == "orders"
            and arg.get("instType") == (placed.order.inst_type or InstType.SPOT).value
            and arg.get("instId", "default") in ("default", placed.order.inst_id)
        )

    def _answer(self, op: str, subscription: object, *, ready: bool) -> str:
        if not isinstance(subscription, dict):
            return self._error("30016", "Param error", None)
        arg = cast("dict[str, Any]", subscription)
        unified = self._dialect is Dialect.UNIFIED
        channel = arg.get("topic" if unified else "channel")
        known = _UNIFIED if unified else PRIVATE
        private = channel in known if isinstance(channel, str) else False
        if not ready and not (self._lenient and not private):
            return self._error("30004", "User not logged in/User must be logged in", None)
        if not isinstance(channel, str):
            return self._error("30016", "Param error", arg)
        if not private and not self._lenient:
            return self._error("30001", f"channel:{channel} doesn't exist", arg)
        key = json.dumps(arg, sort_keys=True)
        if op == "unsubscribe":
            self._subscribed.pop(key, None)
        elif key not in self._subscribed and len(self) >= MAX_SUBSCRIPTIONS:
            return self._error("30006", "request too many", arg)
        else:
            self._subscribed[key] = arg
        return encode_event(op, None, None, arg=arg)

    def _error(self, code: str, message: str, arg: object) -> str:
        return encode_event("error", int(code), message, arg=arg)
