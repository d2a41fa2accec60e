"""The frames that the scripted exchange saw, fit to be shown.

Rules of this file
- The text of a `SeenFrame` has been through `redacted`: no frame with its secrets is kept, or handed to `on_frame`.
"""

from typing import Literal, TypeAlias

import attrs

from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._wire.exchange_codec import decode_request
from ..._wire.frame_redaction import redacted
from ..._wire.requests import CancelRequest

__all__ = ["Direction", "SeenFrame", "redacted"]

Direction: TypeAlias = Literal["received", "sent"]
"""Which way a frame went, as the exchange sees it."""


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class SeenFrame:
    """A text message that was received from a client or sent to it; `ScriptedExchange.on_frame` is given each."""

    at: float
    """When, on the caller's clock."""

    link: int
    """Which connection, counted from 1."""

    direction: Direction
    text: str
    """What was said, without secrets."""

    @property
    def cancels(self) -> CancelOrder | None:
        """The order that a received frame asks to cancel, read as leniently as the exchange can; None for any other frame."""
        if self.direction != "received":
            return None
        request = decode_request(self.text, lenient=True)
        return request.order if isinstance(request, CancelRequest) else None
