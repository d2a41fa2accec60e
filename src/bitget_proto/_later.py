"""What a single connection has no use for, and `bitget_proto` imports when it is first asked for.

Sessions, the exchange's side, and records: together they take almost as long to import as the rest.
"""

from ._exchange import (
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
from ._recording import record
from ._replay import Difference, replay
from ._session import Session
from ._session_config import Policy, SessionConfig
from ._session_events import (
    Dial,
    Down,
    Ended,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    SessionEvent,
    SessionOutput,
    Up,
)
from ._session_states import (
    SESSION_TRANSITIONS,
    SessionCause,
    SessionState,
    SessionStep,
    WhyEnded,
    session_diagram,
)
from ._trace import Trace, TraceStep

__all__ = [
    "ABORT",
    "SESSION_TRANSITIONS",
    "CancelRequested",
    "Dial",
    "Difference",
    "Down",
    "Dropped",
    "Ended",
    "ExchangeConfig",
    "ExchangeConnection",
    "ExchangeOutput",
    "LinkClosed",
    "LinkHangup",
    "LinkTransmit",
    "LoginRequested",
    "OtherRequested",
    "Policy",
    "Session",
    "SessionCause",
    "SessionConfig",
    "SessionEvent",
    "SessionOutput",
    "SessionState",
    "SessionStep",
    "Trace",
    "TraceStep",
    "Up",
    "WhyDropped",
    "WhyEnded",
    "record",
    "replay",
    "session_diagram",
]
