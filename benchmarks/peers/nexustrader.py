"""nexustrader: `await BitgetOrderManagementSystem.cancel_order_ws(oid, symbol)`.

The order is a spot order that nexustrader knows as accepted. `ws_connect` of picows is replaced by
a fake transport, so there is no WebSocket framing. The rate limiter is off; registry, cache and
message bus are nexustrader's own. Placing the order before and the push of its end after are not
timed. The look-up of positions at the start is left out. Tasks that it schedules for a second
later are timed when they run within a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from itertools import count as counted
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from benchmarks.peers.fake import bitget, part


def release() -> str:
    return version("nexustrader")


class _Transport:
    """A fake of the transport of picows. The reply comes in the loop's next iteration."""

    def __init__(self, listener: Any, text: object) -> None:
        self._listener = listener
        self._text = text
        self._call_soon = asyncio.get_running_loop().call_soon

    def send(self, _: object, data: bytes) -> None:
        self._call_soon(self._answer, bitget(data.decode()).encode())

    def _answer(self, payload: bytes) -> None:
        frame = SimpleNamespace(msg_type=self._text, get_payload_as_bytes=lambda: payload)
        self._listener.on_ws_frame(self, frame)

    def disconnect(self) -> None:
        pass

    async def wait_disconnected(self) -> None:
        await asyncio.Event().wait()


def _heard(_: object) -> None:
    pass


def _without_positions(oms: Any) -> Any:
    def nothing(_: object) -> None:
        pass

    return type("Oms", (oms,), {"_init_position": nothing})


@asynccontextmanager
async def driven() -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[object]]]]:
    loop = asyncio.get_running_loop()
    clients, text = part("nexustrader.base.ws_client"), part("picows").WSMsgType.TEXT

    async def connect(
        make: Callable[[], object], *_: object, **__: object
    ) -> tuple[_Transport, object]:
        listener = make()
        return _Transport(listener, text), listener

    clients.ws_connect = connect
    # The log is set up as nexustrader's engine does it, at the default level.
    bus, clock = part("nexustrader.core.nautilius_core").setup_nautilus_core("bench-1")
    registry = part("nexustrader.core.registry").OrderRegistry()
    tasks = part("nexustrader.core.entity").TaskManager(loop, enable_signal_handlers=False)
    schema, constants = part("nexustrader.schema"), part("nexustrader.constants")
    for endpoint in ("canceling", "accepted", "pending", "canceled"):
        bus.register(endpoint=endpoint, handler=_heard)
    with TemporaryDirectory() as folder:
        cache = part("nexustrader.core.cache").AsyncCache(
            "s", "u", bus, clock, tasks, db_path=f"{folder}/cache.db"
        )
        await cache._init_storage()
        symbol = "BTCUSDT.BITGET"
        oms = _without_positions(part("nexustrader.exchange.bitget.oms").BitgetOrderManagementSystem)(
            account_type=part("nexustrader.exchange.bitget.constants").BitgetAccountType.SPOT,
            api_key="key", secret="secret", passphrase="phrase",
            market={symbol: SimpleNamespace(id="BTCUSDT", swap=False)}, market_id={}, registry=registry, cache=cache,
            api_client=SimpleNamespace(), exchange_id=constants.ExchangeType.BITGET, clock=clock, msgbus=bus,
            task_manager=tasks, max_slippage=0.02, enable_rate_limit=False,
        )  # fmt: skip
        await oms._ws_api_client.connect()
        await oms._ws_api_client._auth()
        oids = counted(1)

        def placed() -> str:
            oid = f"n{next(oids)}"
            order = schema.Order(
                exchange=constants.ExchangeType.BITGET, symbol=symbol, status=constants.OrderStatus.INITIALIZED, oid=oid,
                amount=Decimal("0.001"), price=90_000.0, type=constants.OrderType.LIMIT, side=constants.OrderSide.BUY,
                time_in_force=constants.TimeInForce.GTC, timestamp=clock.timestamp_ms(),
            )  # fmt: skip
            registry.register_order(oid)
            registry.register_tmp_order(order)
            become(oid, constants.OrderStatus.PENDING)
            become(oid, constants.OrderStatus.ACCEPTED)
            return oid

        def become(oid: str, status: object) -> None:
            order = registry.get_tmp_order(oid)
            oms.order_status_update(
                oms._create_order_from_tmp(order, oid, "1", status, clock.timestamp_ms())
            )

        def prepare(count: int) -> Callable[[], Awaitable[object]]:
            orders = [placed() for _ in range(count)]

            def pushed() -> None:
                for oid in orders:
                    become(oid, constants.OrderStatus.CANCELED)

            async def run() -> None:
                for oid in orders:
                    await oms.cancel_order_ws(oid, symbol)
                assert cache.get_order(orders[-1]).status == constants.OrderStatus.CANCELING
                # In the loop's next iteration, which is not timed.
                loop.call_soon(pushed)

            return run

        yield prepare
