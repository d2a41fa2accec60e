"""Outputs of an `ExchangeConnection`: texts to send, requests to answer, and the end."""

from typing import TypeAlias

import attrs

from ..._values.credentials import SignedLogin
from ..._values.enums import DescribedEnum
from ..._values.events import Hangup, Transmit, Wait
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module

ABORT = 1006
"""The `Hangup.code` for ending the transport without a close frame.

RFC 6455 (7.4.1) reserves 1006 for connections that ended this way."""


@set_module("bitget_proto.testing")
class WhyDropped(DescribedEnum):
    """The reason why a connection ended, from the exchange's point of view."""

    ASKED = "asked", "`ExchangeConnection.close` was called."
    CLIENT_LEFT = "client left", "The transport ended."
    TOO_MANY_MESSAGES = (
        "too many messages",
        "The client sent more messages per second than the documentation allows.",
    )
    NO_PING = "no ping", "The client sent no ping for `ExchangeConfig.ping_timeout`."
    TOO_OLD = (
        "too old",
        "The connection reached the age at which the exchange cuts every connection.",
    )
    LOGIN_REFUSED = (
        "login refused",
        "The login was refused; the documentation says that the exchange then disconnects.",
    )


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class LoginRequested:
    """An event: a client asks to log in. Answer with `accept_login` or `refuse_login`."""

    login: SignedLogin


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class CancelRequested:
    """An event: a logged-in client asks to cancel an order. Answer with `accept` or `refuse`."""

    id: str
    order: CancelOrder


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class BatchRequested:
    """An event: a unified account asks to cancel several orders.

    Answer with `answer_batch`, or refuse them all with `refuse`.
    """

    id: str
    orders: tuple[CancelOrder, ...]


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class OtherRequested:
    """An event: a client makes any other request.

    `op` is `subscribe`, `unsubscribe`, …, or `trade` for placing an order. The client may not be
    logged in: check `state`. Answer with `say`, or not at all.
    """

    op: str
    text: str


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class ConnectionDropped:
    """The last event: the connection has ended."""

    why: WhyDropped
    detail: str


ExchangeOutput: TypeAlias = (
    Transmit
    | Hangup
    | LoginRequested
    | CancelRequested
    | BatchRequested
    | OtherRequested
    | ConnectionDropped
    | Wait
)
"""What `ExchangeConnection.poll` returns."""
