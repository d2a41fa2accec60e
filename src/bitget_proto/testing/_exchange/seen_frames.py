"""Frames seen by the scripted exchange, with secrets removed.

The text of a `SeenFrame` must be passed through `redacted`, so that no frame with secrets is kept
or passed to `on_frame`.
"""

from typing import Literal, TypeAlias

import attrs

from ..._values.dialects import Dialect
from ..._values.orders import CancelOrder
from ..._values.set_module import set_module
from ..._wire.exchange_codec import decode_request
from ..._wire.frame_redaction import redacted
from ..._wire.requests import BatchRequest, CancelRequest

__all__ = ["Direction", "SeenFrame", "redacted"]

Direction: TypeAlias = Literal["received", "sent"]
"""The direction of a frame, from the exchange's point of view."""


@set_module("bitget_proto.testing")
@attrs.frozen(kw_only=True)
class SeenFrame:
    """A message received from a client or sent to it; see `ScriptedExchange.on_frame`."""

    at: float
    """The time, on the caller's clock."""

    link: int
    """The number of the connection, counted from 1."""

    direction: Direction
    text: str
    """The text, with secrets removed."""

    @property
    def cancels(self) -> tuple[CancelOrder, ...]:
        """The orders that a received frame asks to cancel: several in a batch, none in other
        frames.

        The frame is read leniently (see `ExchangeConfig.lenient`).
        """
        if self.direction != "received":
            return ()
        for dialect in Dialect:
            request = decode_request(self.text, lenient=True, dialect=dialect)
            if isinstance(request, CancelRequest):
                return (request.order,)
            if isinstance(request, BatchRequest):
                return request.orders
        return ()
