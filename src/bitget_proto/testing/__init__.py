"""What it takes to test code that cancels orders: virtual time, a scripted exchange, and a connection that watches its driver.

Nothing here needs a test framework, a socket or a clock. Begin with `Pair`:

    pair = Pair(exchange=ScriptedExchange([CancelOrder("BTCUSDT", order_id="1")]))
    pair.open()
    id = pair.cancel(CancelOrder("BTCUSDT", order_id="1"))
    pair.outcomes[id]

The exchange's side (`ExchangeConnection` and what it gives) is handed out here as well, since tests are where it is met.
"""

from .._exchange import (
    ABORT,
    CancelRequested,
    Dropped,
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
from ._pair import Latency, Pair
from ._scripted import Act, ScriptedExchange, ScriptedLink, ScriptedOutput
from ._session_pair import SessionPair
from ._strict import DriverError, Rule, StrictConnection

__all__ = [
    "ABORT",
    "Act",
    "CancelRequested",
    "Direction",
    "DriverError",
    "Dropped",
    "ExchangeConfig",
    "ExchangeConnection",
    "ExchangeOutput",
    "Fault",
    "Latency",
    "LoginRequested",
    "OtherRequested",
    "Pair",
    "Rule",
    "ScriptedExchange",
    "ScriptedLink",
    "ScriptedOutput",
    "SeenFrame",
    "SessionPair",
    "StrictConnection",
    "VirtualClock",
    "WhyDropped",
    "redacted",
]
