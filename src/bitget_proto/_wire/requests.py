"""What a client says, as typed values: the closed union `Request`."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from .._values.credentials import SignedLogin
from .._values.orders import CancelOrder
from .messages import Malformed


@attrs.define
class LoginRequest:
    """A client asks to log in."""

    login: SignedLogin


@attrs.define
class CancelRequest:
    """A client asks to cancel an order."""

    id: str
    order: CancelOrder


@attrs.define
class Ping:
    """The bare text `ping`."""


@attrs.define
class OtherRequest:
    """A client asks for something that is neither: `subscribe`, `unsubscribe`, an op
    of tomorrow, or, with the op `trade`, to place an order (channel `place-order`).
    """

    op: str


@attrs.define
class BadRequest:
    """A client says what the page does not allow."""

    code: str
    """The code that an exchange refuses it with."""

    message: str
    arg: object
    """What to echo, as plain data; None when there was nothing to name it by."""


Request: TypeAlias = LoginRequest | CancelRequest | Ping | OtherRequest | BadRequest | Malformed
"""What a client says."""
