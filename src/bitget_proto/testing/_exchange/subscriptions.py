"""What a client of the scripted exchange has subscribed to, and the pushes that it gets for that.

Rules of this file
- Every subscription has an answer of its own, an acknowledgement or an error, so that other people's clients stay connected.
- Only the `orders` channel is ever pushed: orders that are placed or cancelled. The others are acknowledged, and silent.
- The channels' wire format stands here, beside the codec, because `Connection` neither writes nor reads it.

It does not know the book, nor which connection it is for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from ..._values.orders import CancelOrder
from ..._wire.exchange_codec import encode_event

PRIVATE: Final = frozenset({
    "account", "account-crossed", "account-isolated", "adl-noti", "equity", "fill", "orders", "orders-algo", "orders-crossed",
    "orders-isolated", "positions", "positions-history",
})  # fmt: skip
"""The private channels of the V2 Websocket API, of spot, margin and futures."""

MAX_SUBSCRIPTIONS: Final = 1000
""""Max 1000 channel subscription/connection" (Websocket API, Connect)."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Channels:
    """The subscriptions of one connection. With `lenient`, channels that are not private are acknowledged as well."""

    def __init__(self, *, lenient: bool) -> None:
        self._lenient = lenient
        self._subscribed: dict[str, dict[str, Any]] = {}
        """What was subscribed to, by its text."""

    def __len__(self) -> int:
        return len(self._subscribed)

    def answers(self, op: str, text: str, *, ready: bool) -> Iterator[str]:
        """What is said to a request that is neither a login nor a cancel, `ready` telling whether the client is logged in."""
        args: object = json.loads(text).get("args")
        if op not in ("subscribe", "unsubscribe"):
            yield self._error("30003", f"op {op} is not supported", None)
        elif not isinstance(args, list) or not args:
            yield self._error("30001", f"no channel is named to {op}", None)
        else:
            for arg in cast("list[object]", args):
                yield self._answer(op, arg, ready=ready)

    def pushes(self, order: CancelOrder, status: str, exchange_ts: int) -> Iterator[str]:
        """What is pushed when this order has a new status: one push for each subscription that it falls under."""
        for arg in self._subscribed.values():
            if (
                arg["channel"] == "orders"
                and arg.get("instType") == order.inst_type.value
                and arg.get("instId", "default") in ("default", order.inst_id)
            ):
                data = {
                    "instId": order.inst_id,
                    "orderId": order.order_id or "",
                    "clientOid": order.client_oid or "",
                    "status": status,
                    "uTime": str(exchange_ts),
                }
                yield _dumps({"action": "snapshot", "arg": arg, "data": [data], "ts": exchange_ts})

    def _answer(self, op: str, asked: object, *, ready: bool) -> str:
        if not isinstance(asked, dict):
            return self._error("30016", "Param error", None)
        arg = cast("dict[str, Any]", asked)
        channel = arg.get("channel")
        private = channel in PRIVATE if isinstance(channel, str) else False
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
