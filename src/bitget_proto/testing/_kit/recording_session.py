"""A strict session that records its driver, for the conformance kit."""

from __future__ import annotations

from collections.abc import Container, Iterable

from ..._machine.arguments import Queued
from ..._machine.session_config import Policy, SessionConfig
from ..._machine.session_events import Dial, Ended, SessionOutput
from ..._machine.session_states import SessionState
from ..._values.credentials import SignedLogin
from ..._values.orders import CancelOrder, InstType
from ..._wire.codec import Codec
from .recording import LinkRecord, Recording, describe_close
from .strict_session import StrictSession


class SessionRecorder(Recording, StrictSession):
    """A strict session that records the calls of its driver and the rules it breaks."""

    noun = "session"
    last_event = "Ended"

    def __init__(self, config: SessionConfig, codec: Codec | None = None) -> None:
        super().__init__(config, codec, jitter=lambda: 0.0)
        self._begin_recording()
        self.closed: Ended | None = None

    @property
    def is_up(self) -> bool:
        """Whether cancels are sent, and no link is about to be replaced."""
        return self.state is SessionState.UP

    def opened(self, link: int, now: float, *, login: SignedLogin) -> None:
        with self._recorded("opened", f"link {link}, a login", now):
            super().opened(link, now, login=login)
        record = self.links[link]
        record.opened = record.closed is None  # a late report of a link that has ended is ignored

    def receive(self, link: int, message: str | bytes, now: float) -> None:
        with self._received(link, message, f"link {link}, {message!r}", now):
            super().receive(link, message, now)

    def lost(
        self,
        link: int,
        now: float,
        reason: str = "",
        unsent: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        unsent = unsent if isinstance(unsent, str) else tuple(unsent)
        what = self._note_lost(link, reason, unsent, retry_after)
        with self._recorded("lost", f"link {link}, {what}", now):
            super().lost(link, now, reason, unsent, retry_after)

    def handle_timeout(self, now: float) -> None:
        with self._recorded("handle_timeout", "", now):
            super().handle_timeout(now)

    def cancel(
        self,
        order: CancelOrder,
        now: float,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        urgent: bool = False,
    ) -> str:
        with self._recorded("cancel", f"{order!r}", now):
            return super().cancel(order, now, id, timeout, policy, urgent)

    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        now: float,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> list[str]:
        given = list(orders)
        with self._recorded("cancel_many", f"{len(given)} orders", now):
            return super().cancel_many(given, now, timeout, policy)

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

    def poll(self, now: float, busy: Container[int] = ()) -> SessionOutput:
        with self._recorded("poll", None, now):
            output = super().poll(now, busy)
        if isinstance(output, Dial):
            self.links[output.link] = LinkRecord()
        elif isinstance(output, Ended):
            self.closed = output
        stalled = [number for number in self.links if number in busy]
        call = f"poll, busy {stalled}" if stalled else "poll"
        record = self.links.get(getattr(output, "link", 0), LinkRecord())
        self._note_output(output, record, call, now)
        return output
