"""Cancel orders over Bitget's private WebSocket, as a pure state machine that you drive from any event loop.

Begin with `Connection`: feed it what happened (`opened`, `receive`, `lost`, `handle_timeout`), ask it for what you want
(`cancel`, `close`), and drain `poll` after each call until it gives a `Wait`. Every cancel that it took gets exactly one
outcome, `Accepted`, `Rejected` or `Unresolved`, and the outcome is honest.

What a single `Connection` has no use for stands in `_later`, and is imported when it is first asked for: a program that
drives a connection does not wait for the rest.
"""

from typing import TYPE_CHECKING

from ._machine.config import Config
from ._machine.connection import Connection, Queued
from ._machine.rate_limit import Budget
from ._values.codes import CodeClass
from ._values.credentials import Credentials, SignedLogin, sign_login
from ._values.errors import LocalProtocolError, NoRoom, ValidationError
from ._values.events import (
    Accepted,
    Closed,
    Event,
    ExchangeError,
    GoingAway,
    Hangup,
    LateReply,
    LoginRejected,
    Outcome,
    Output,
    Ready,
    Rejected,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyUnrecognised,
    WhyUnresolved,
)
from ._values.orders import CancelOrder, InstType
from ._values.states import TRANSITIONS, Cause, State, Step, WhyClosed, diagram
from ._values.timers import Timer
from ._version import __version__
from ._wire.codec import Codec, decode, encode_cancel
from ._wire.json_engines import Engine, EngineName, fastest
from ._wire.messages import (
    BadRequest,
    CancelRequest,
    ErrorReply,
    LoginReply,
    LoginRequest,
    Malformed,
    Message,
    Other,
    OtherRequest,
    Ping,
    Pong,
    Request,
    TradeReply,
)

if TYPE_CHECKING:
    from ._later import (
        SESSION_TRANSITIONS,
        Dial,
        Difference,
        Down,
        Ended,
        LinkClosed,
        LinkHangup,
        LinkTransmit,
        Policy,
        Session,
        SessionCause,
        SessionConfig,
        SessionEvent,
        SessionOutput,
        SessionState,
        SessionStep,
        Trace,
        TraceStep,
        Up,
        WhyEnded,
        record,
        replay,
        session_diagram,
    )
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from . import _later

            return getattr(_later, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SESSION_TRANSITIONS",
    "TRANSITIONS",
    "Accepted",
    "BadRequest",
    "Budget",
    "CancelOrder",
    "CancelRequest",
    "Cause",
    "Closed",
    "CodeClass",
    "Codec",
    "Config",
    "Connection",
    "Credentials",
    "Dial",
    "Difference",
    "Down",
    "Ended",
    "Engine",
    "EngineName",
    "ErrorReply",
    "Event",
    "ExchangeError",
    "GoingAway",
    "Hangup",
    "InstType",
    "LateReply",
    "LinkClosed",
    "LinkHangup",
    "LinkTransmit",
    "LocalProtocolError",
    "LoginRejected",
    "LoginReply",
    "LoginRequest",
    "Malformed",
    "Message",
    "NoRoom",
    "Other",
    "OtherRequest",
    "Outcome",
    "Output",
    "Ping",
    "Policy",
    "Pong",
    "Queued",
    "Ready",
    "Rejected",
    "Request",
    "Session",
    "SessionCause",
    "SessionConfig",
    "SessionEvent",
    "SessionOutput",
    "SessionState",
    "SessionStep",
    "SignedLogin",
    "State",
    "Step",
    "Timer",
    "Trace",
    "TraceStep",
    "TradeReply",
    "Transmit",
    "Unrecognised",
    "Unresolved",
    "Up",
    "ValidationError",
    "Wait",
    "WhyClosed",
    "WhyEnded",
    "WhyUnrecognised",
    "WhyUnresolved",
    "__version__",
    "decode",
    "diagram",
    "encode_cancel",
    "fastest",
    "record",
    "replay",
    "session_diagram",
    "sign_login",
]


def __dir__() -> list[str]:
    return list(__all__)
