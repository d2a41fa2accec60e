"""Cancel orders over Bitget's private WebSocket with a sans-IO state machine for any event loop.

Start with `Connection`: report what happened (`opened`, `receive`, `lost`, `handle_timeout`),
request what you want (`cancel`, `close`), and after each call drain `poll` until it returns a
`Wait`. Every cancel that was taken gets exactly one outcome: `Accepted`, `Rejected` or
`Unresolved`. An outcome never claims more than is known.

Names that a single `Connection` does not need are imported on first access, which keeps the import
fast.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from ._machine.arguments import Queued
from ._machine.connection import Connection
from ._machine.connection_config import Config
from ._machine.rate_limit import Budget
from ._values.codes import CodeClass
from ._values.credentials import Credentials, SignedLogin, sign_login
from ._values.dialects import Dialect
from ._values.errors import LocalProtocolError, NoRoom, ValidationError
from ._values.events import (
    Accepted,
    CallerError,
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
    Subscribed,
    SubscribeRefused,
    Transmit,
    Unrecognised,
    Unresolved,
    Wait,
    WhyUnrecognised,
    WhyUnresolved,
)
from ._values.order_updates import (
    LookUpReply,
    NoAnswer,
    NoSuchOrder,
    OneOrder,
    OpenOrders,
    OrderHistory,
    OrderPage,
    OrderStatus,
    OrderUpdate,
    Question,
)
from ._values.orders import CancelOrder, InstType
from ._values.states import State, WhyClosed
from ._values.timers import Timer
from ._version import __version__
from ._wire.codec import Codec, decode, encode_cancel
from ._wire.json_engines import Engine, fastest
from ._wire.messages import (
    ErrorReply,
    LoginReply,
    Malformed,
    Message,
    OrderReply,
    OrdersPush,
    Other,
    Pong,
    SubscribeReply,
    TradeReply,
)

if TYPE_CHECKING:
    from ._machine.dead_man_switch import (
        Armed,
        DeadManSwitch,
        DeadManSwitchOutput,
        Lapsed,
        NotRenewed,
        SetCountdown,
        Stopped,
        WhyNotRenewed,
    )
    from ._machine.lease import Ask, Granted, Lease, LeaseOutput, StoreDown, StoreUp
    from ._machine.reconciler import Reconciler
    from ._machine.reconciler_config import ReconcilerConfig
    from ._machine.session import Session
    from ._machine.session_config import Policy, SessionConfig
    from ._machine.session_events import (
        Dial,
        Down,
        Ended,
        LinkClosed,
        LinkHangup,
        LinkTransmit,
        RestCancel,
        SessionEvent,
        SessionOutput,
        Up,
    )
    from ._machine.session_states import (
        SessionState,
        WhyEnded,
    )
    from ._trace.reader import Trace, TraceStep
    from ._trace.recorder import record
    from ._trace.replay import Difference, replay
    from ._values.finals import (
        Cancelled,
        Evidence,
        Filled,
        Final,
        LookUp,
        NotFound,
        ReconcilerOutput,
        StillOpen,
        Unknown,
        WhyUnknown,
    )
    from ._values.rest_requests import RestRequest, sign_request
    from ._wire.rest import RestCodec

__all__ = [
    "Accepted",
    "Armed",
    "Ask",
    "Budget",
    "CallerError",
    "CancelOrder",
    "Cancelled",
    "Closed",
    "CodeClass",
    "Codec",
    "Config",
    "Connection",
    "Credentials",
    "DeadManSwitch",
    "DeadManSwitchOutput",
    "Dial",
    "Dialect",
    "Difference",
    "Down",
    "Ended",
    "Engine",
    "ErrorReply",
    "Event",
    "Evidence",
    "ExchangeError",
    "Filled",
    "Final",
    "GoingAway",
    "Granted",
    "Hangup",
    "InstType",
    "Lapsed",
    "LateReply",
    "Lease",
    "LeaseOutput",
    "LinkClosed",
    "LinkHangup",
    "LinkTransmit",
    "LocalProtocolError",
    "LoginRejected",
    "LoginReply",
    "LookUp",
    "LookUpReply",
    "Malformed",
    "Message",
    "NoAnswer",
    "NoRoom",
    "NoSuchOrder",
    "NotFound",
    "NotRenewed",
    "OneOrder",
    "OpenOrders",
    "OrderHistory",
    "OrderPage",
    "OrderReply",
    "OrderStatus",
    "OrderUpdate",
    "OrdersPush",
    "Other",
    "Outcome",
    "Output",
    "Policy",
    "Pong",
    "Question",
    "Queued",
    "Ready",
    "Reconciler",
    "ReconcilerConfig",
    "ReconcilerOutput",
    "Rejected",
    "RestCancel",
    "RestCodec",
    "RestRequest",
    "Session",
    "SessionConfig",
    "SessionEvent",
    "SessionOutput",
    "SessionState",
    "SetCountdown",
    "SignedLogin",
    "State",
    "StillOpen",
    "Stopped",
    "StoreDown",
    "StoreUp",
    "SubscribeRefused",
    "SubscribeReply",
    "Subscribed",
    "Timer",
    "Trace",
    "TraceStep",
    "TradeReply",
    "Transmit",
    "Unknown",
    "Unrecognised",
    "Unresolved",
    "Up",
    "ValidationError",
    "Wait",
    "WhyClosed",
    "WhyEnded",
    "WhyNotRenewed",
    "WhyUnknown",
    "WhyUnrecognised",
    "WhyUnresolved",
    "__version__",
    "decode",
    "encode_cancel",
    "fastest",
    "record",
    "replay",
    "sign_login",
    "sign_request",
]

_LAZY = MappingProxyType({
    "Armed": "._machine.dead_man_switch",
    "Cancelled": "._values.finals",
    "Ask": "._machine.lease",
    "DeadManSwitch": "._machine.dead_man_switch",
    "DeadManSwitchOutput": "._machine.dead_man_switch",
    "Dial": "._machine.session_events",
    "Difference": "._trace.replay",
    "Down": "._machine.session_events",
    "Ended": "._machine.session_events",
    "Evidence": "._values.finals",
    "Filled": "._values.finals",
    "Final": "._values.finals",
    "Granted": "._machine.lease",
    "Lapsed": "._machine.dead_man_switch",
    "Lease": "._machine.lease",
    "LeaseOutput": "._machine.lease",
    "LinkClosed": "._machine.session_events",
    "LinkHangup": "._machine.session_events",
    "LinkTransmit": "._machine.session_events",
    "LookUp": "._values.finals",
    "NotFound": "._values.finals",
    "NotRenewed": "._machine.dead_man_switch",
    "Policy": "._machine.session_config",
    "Reconciler": "._machine.reconciler",
    "ReconcilerConfig": "._machine.reconciler_config",
    "ReconcilerOutput": "._values.finals",
    "Session": "._machine.session",
    "SessionConfig": "._machine.session_config",
    "SessionEvent": "._machine.session_events",
    "SessionOutput": "._machine.session_events",
    "RestCancel": "._machine.session_events",
    "RestCodec": "._wire.rest",
    "RestRequest": "._values.rest_requests",
    "SessionState": "._machine.session_states",
    "SetCountdown": "._machine.dead_man_switch",
    "StillOpen": "._values.finals",
    "Stopped": "._machine.dead_man_switch",
    "StoreDown": "._machine.lease",
    "StoreUp": "._machine.lease",
    "Trace": "._trace.reader",
    "TraceStep": "._trace.reader",
    "Unknown": "._values.finals",
    "Up": "._machine.session_events",
    "WhyEnded": "._machine.session_states",
    "WhyNotRenewed": "._machine.dead_man_switch",
    "WhyUnknown": "._values.finals",
    "record": "._trace.recorder",
    "replay": "._trace.replay",
    "sign_request": "._values.rest_requests",
})  # fmt: skip
"""Names that are imported on first access, with their modules."""


if not TYPE_CHECKING:  # hidden from type checkers, which would then accept any attribute name

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
