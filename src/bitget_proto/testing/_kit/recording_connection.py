"""A strict connection that records its driver, for the conformance kit."""

from __future__ import annotations

from collections.abc import Iterable

from ..._machine.arguments import Queued
from ..._machine.connection_config import Config
from ..._values.credentials import SignedLogin
from ..._values.events import Closed, Output
from ..._values.orders import CancelOrder, InstType
from ..._values.states import State
from ..._wire.codec import Codec
from .recording import LinkRecord, Recording, describe_close
from .strict_connection import StrictConnection

ONLY_LINK = 1
"""The number of the record of a connection."""


class Recorder(Recording, StrictConnection):
    """A strict connection that records the calls of its driver and the rules it breaks."""

    noun = "connection"
    last_event = "Closed"

    def __init__(self, config: Config, codec: Codec | None = None) -> None:
        super().__init__(config, codec)
        self._begin_recording()
        self._link = self.links[ONLY_LINK] = LinkRecord()
        self.closed: Closed | None = None

    @property
    def is_up(self) -> bool:
        """Whether cancels are sent."""
        return self.state is State.READY

    def opened(self, now: float, *, login: SignedLogin) -> None:
        with self._recorded("opened", "a login", now):
            super().opened(now, login=login)
        self._link.opened = True

    def receive(self, message: str | bytes, now: float) -> None:
        with self._received(ONLY_LINK, message, message, now):
            super().receive(message, now)

    def lost(self, now: float, reason: str = "", unsent: Iterable[str] = ()) -> None:
        unsent = unsent if isinstance(unsent, str) else tuple(unsent)
        with self._recorded("lost", self._note_lost(ONLY_LINK, reason, unsent), now):
            super().lost(now, reason, unsent)

    def handle_timeout(self, now: float) -> None:
        with self._recorded("handle_timeout", "", now):
            super().handle_timeout(now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> str:
        with self._recorded("cancel", f"{order!r}", now):
            return super().cancel(order, now, id, timeout, urgent)

    def cancel_many(
        self, orders: Iterable[CancelOrder], now: float, timeout: float | None = None
    ) -> list[str]:
        given = list(orders)
        with self._recorded("cancel_many", f"{len(given)} orders", now):
            return super().cancel_many(given, now, timeout)

    def withdraw(self, id: str, now: float) -> bool:
        with self._recorded("withdraw", f"{id!r}", now):
            return super().withdraw(id, now)

    def send(self, text: str, now: float) -> None:
        with self._recorded("send", text, now):
            super().send(text, now)

    def subscribe_orders(self, now: float, inst_types: Iterable[InstType] | None = None) -> None:
        with self._recorded("subscribe_orders", "", now):
            super().subscribe_orders(now, inst_types)

    def close(self, now: float, queued: Queued = "drop", within: float | None = None) -> None:
        with self._recorded("close", describe_close(queued, within), now):
            super().close(now, queued, within)

    def poll(self, now: float, writable: bool = True) -> Output:
        with self._recorded("poll", None, now):
            output = super().poll(now, writable)
        if isinstance(output, Closed):
            self.closed = output
        self._note_output(output, self._link, "poll" if writable else "poll, not writable", now)
        return output
