"""What it takes to test code that cancels orders: virtual time, a scripted exchange, and a connection that watches its driver.

Nothing here but `testing.pytest` needs a test framework, and nothing but the conformance kit a socket or a clock. Begin with
`Pair`:

    pair = Pair(exchange=ScriptedExchange([CancelOrder("BTCUSDT", order_id="1")]))
    pair.open()
    id = pair.cancel(CancelOrder("BTCUSDT", order_id="1"))
    pair.outcomes[id]

If you have written a driver, `check_driver` tells whether it keeps the driver contract (docs/conformance.md).

The exchange's side of one WebSocket (`ExchangeConnection` and what it gives) is here too: tests are where it is met.
The names of the conformance kit are imported when they are first asked for: it uses sockets and threads.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from .._exchange import (
    ABORT,
    CancelRequested,
    ConnectionDropped,
    ExchangeConfig,
    ExchangeConnection,
    ExchangeOutput,
    LoginRequested,
    OtherRequested,
    WhyDropped,
)
from ._clock import VirtualClock
from ._faults import Fault
from ._frames import Direction, SeenFrame, redacted
from ._pair import Pair
from ._scripted import Act, ScriptedExchange, ScriptedLink, ScriptedOutput
from ._session_pair import SessionPair
from ._strict import DriverError, Rule, StrictConnection
from ._wire import Latency

if TYPE_CHECKING:
    from ._check import SCENARIOS, check_driver
    from ._recorder import DriverStep
    from ._report import Break, ContractBroken, Report, Result
    from ._scenario import Scenario
    from ._stage import Abandons, DriverUnderTest, MakeDriver

__all__ = [
    "ABORT",
    "SCENARIOS",
    "Abandons",
    "Act",
    "Break",
    "CancelRequested",
    "ConnectionDropped",
    "ContractBroken",
    "Direction",
    "DriverError",
    "DriverStep",
    "DriverUnderTest",
    "ExchangeConfig",
    "ExchangeConnection",
    "ExchangeOutput",
    "Fault",
    "Latency",
    "LoginRequested",
    "MakeDriver",
    "OtherRequested",
    "Pair",
    "Report",
    "Result",
    "Rule",
    "Scenario",
    "ScriptedExchange",
    "ScriptedLink",
    "ScriptedOutput",
    "SeenFrame",
    "SessionPair",
    "StrictConnection",
    "VirtualClock",
    "WhyDropped",
    "check_driver",
    "redacted",
]

_HOMES = MappingProxyType({
    "Abandons": "._stage",
    "Break": "._report",
    "ContractBroken": "._report",
    "DriverUnderTest": "._stage",
    "MakeDriver": "._stage",
    "Report": "._report",
    "Result": "._report",
    "SCENARIOS": "._check",
    "Scenario": "._scenario",
    "DriverStep": "._recorder",
    "check_driver": "._check",
})  # fmt: skip
"""The modules of the conformance kit's names."""


if not TYPE_CHECKING:  # or else every name would be one

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
