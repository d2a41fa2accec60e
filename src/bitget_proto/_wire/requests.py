"""Requests of a client: the closed union `Request`."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from .._values.credentials import SignedLogin
from .._values.orders import CancelOrder
from .messages import Malformed


@attrs.define
class LoginRequest:
    """A request to log in."""

    login: SignedLogin


@attrs.define
class CancelRequest:
    """A request to cancel an order."""

    id: str
    order: CancelOrder


@attrs.define
class BatchRequest:
    """A request of a unified account to cancel several orders."""

    id: str
    orders: tuple[CancelOrder, ...]


@attrs.define
class Ping:
    """The bare text `ping`."""


@attrs.define
class OtherRequest:
    """Any other request: `subscribe`, `unsubscribe`, an unknown op, or a request to place an order.

    The latter has the op `trade` and the channel `place-order`.
    """

    op: str


@attrs.define
class BadRequest:
    """A request that the exchange's page does not allow."""

    code: str
    """The code with which an exchange refuses it."""

    message: str
    arg: object
    """The part to echo, as plain data: the entries of `args` on classic accounts, the id on unified
    ones. None if there is nothing to identify the request by.
    """


Request: TypeAlias = (
    LoginRequest | CancelRequest | BatchRequest | Ping | OtherRequest | BadRequest | Malformed
)
"""A request of a client."""
