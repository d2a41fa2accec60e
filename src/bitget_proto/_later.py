"""What a single connection has no use for, and `bitget_proto` imports when it is first asked for.

Sessions and records: together they take almost as long to import as the rest.
"""

from ._machine.session import Session
from ._machine.session_config import Policy, SessionConfig
from ._machine.session_events import (
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
from ._machine.session_states import (
    SESSION_TRANSITIONS,
    SessionCause,
    SessionState,
    SessionStep,
    WhyEnded,
    session_diagram,
)
from ._trace.reader import Trace, TraceStep
from ._trace.recorder import record
from ._trace.replay import Difference, replay

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
