"""Tools for testing code that cancels orders: virtual time, a scripted exchange, and more.

Only `testing.pytest` needs a test framework, and only the conformance kit needs sockets and a
clock. Begin with `Pair`:

    pair = Pair(exchange=ScriptedExchange([CancelOrder("BTCUSDT", order_id="1")]))
    pair.open()
    id = pair.cancel(CancelOrder("BTCUSDT", order_id="1"))
    pair.outcomes[id]

`check_driver` and `check_session_driver` check whether a driver of your own keeps the driver
contract (docs/conformance.md).

`ExchangeConnection`, the exchange's side of one WebSocket, is also here, together with its events.
The names of the conformance kit are imported on first use, because it uses sockets and threads.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from .._wire.exchange_codec import encode_batch_reply, encode_event, encode_reply
from ._exchange.exchange_config import ExchangeConfig
from ._exchange.exchange_connection import ExchangeConnection
from ._exchange.exchange_events import (
    ABORT,
    BatchRequested,
    CancelRequested,
    ConnectionDropped,
    LoginRequested,
    OtherRequested,
    WhyDropped,
)
from ._exchange.faults import Fault, RestFault
from ._exchange.scripted_exchange import ScriptedExchange
from ._exchange.scripted_link import ScriptedLink
from ._exchange.seen_frames import SeenFrame
from ._exchange.trading import Act
from ._kit.driver_checks import DriverError, Rule
from ._kit.strict_connection import StrictConnection
from ._kit.strict_session import StrictSession
from ._virtual.clock import VirtualClock
from ._virtual.connection_pair import Pair
from ._virtual.network import Latency
from ._virtual.session_pair import SessionPair

if TYPE_CHECKING:
    from ._kit.driver_thread import DriverUnderTest, SessionDriverUnderTest
    from ._kit.report import ContractBroken, Report, Result
    from ._kit.runner import check_driver, check_session_driver

__all__ = [
    "ABORT",
    "Act",
    "BatchRequested",
    "CancelRequested",
    "ConnectionDropped",
    "ContractBroken",
    "DriverError",
    "DriverUnderTest",
    "ExchangeConfig",
    "ExchangeConnection",
    "Fault",
    "Latency",
    "LoginRequested",
    "OtherRequested",
    "Pair",
    "Report",
    "RestFault",
    "Result",
    "Rule",
    "ScriptedExchange",
    "ScriptedLink",
    "SeenFrame",
    "SessionDriverUnderTest",
    "SessionPair",
    "StrictConnection",
    "StrictSession",
    "VirtualClock",
    "WhyDropped",
    "check_driver",
    "check_session_driver",
    "encode_batch_reply",
    "encode_event",
    "encode_reply",
]

_HOMES = MappingProxyType({
    "ContractBroken": "._kit.report",
    "DriverUnderTest": "._kit.driver_thread",
    "Report": "._kit.report",
    "Result": "._kit.report",
    "SessionDriverUnderTest": "._kit.driver_thread",
    "check_driver": "._kit.runner",
    "check_session_driver": "._kit.runner",
})  # fmt: skip
"""The module that defines each name of the conformance kit."""


if not TYPE_CHECKING:  # hidden from type checkers, which would then accept any name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
