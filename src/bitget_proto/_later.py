"""What a single connection has no use for, and `bitget_proto` imports when it is first asked for.

Sessions and records: together they take almost as long to import as the rest.
"""

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
    "SESSION_TRANSITIONS",
    "Dial",
    "Difference",
    "Down",
    "Ended",
    "LinkClosed",
    "LinkHangup",
    "LinkTransmit",
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
    "WhyEnded",
    "record",
    "replay",
    "session_diagram",
]
