"""The methods that control an embedded exchange while it runs.

Each calls the method of `ScriptedExchange` with the same name, between two steps of the exchange.
None of them waits for clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeVar

from bitget_proto import CancelOrder
from bitget_proto.testing import Fault, ScriptedExchange

_T = TypeVar("_T")


class _Controls(ABC):  # pyright: ignore[reportUnusedClass]
    """Base of the embedded exchanges; `call` defines where the methods run."""

    exchange: ScriptedExchange

    @abstractmethod
    def now(self) -> float:
        """Seconds since the start: the `now` of the exchange."""

    @abstractmethod
    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function where the exchange runs, between two steps, and return its result."""

    # --- requests and the book ---

    def place(self, *orders: CancelOrder) -> None:
        """Put live orders into the book."""

        def place() -> None:
            for order in orders:
                self.exchange.place(order)

        self.call(place)

    def inject(self, *faults: Fault | None) -> None:
        """Like `ScriptedExchange.inject`: these faults apply to the coming cancels, one each."""
        self.call(lambda: self.exchange.inject(*faults))

    def inject_login(self, *faults: Fault | None) -> None:
        """Like `ScriptedExchange.inject_login`: these faults apply to the coming logins, one each."""
        self.call(lambda: self.exchange.inject_login(*faults))

    # --- handshakes and logins ---

    def refuse_handshakes(
        self, n: int, status: int = 429, *, retry_after: int | None = None
    ) -> None:
        """Like `ScriptedExchange.refuse_handshakes`: the next `n` dials get this HTTP status."""
        self.call(lambda: self.exchange.refuse_handshakes(n, status, retry_after=retry_after))

    def refuse_logins(self, n: int, code: str = "40015", *, stay: bool = False) -> None:
        """Like `ScriptedExchange.refuse_logins`: the next `n` logins get this code."""
        self.call(lambda: self.exchange.refuse_logins(n, code, stay=stay))

    def refuse_second_logins(self, code: str | None = "30005") -> None:
        """Like `ScriptedExchange.refuse_second_logins`: one link per API key; None allows more."""
        self.call(lambda: self.exchange.refuse_second_logins(code))

    def maintenance(
        self,
        *,
        seconds: float | None = None,
        grace: float | None = None,
        codes: Iterable[str] | None = None,
        stay: bool = False,
    ) -> None:
        """Like `ScriptedExchange.maintenance`, starting now."""
        self.call(
            lambda: self.exchange.maintenance(
                self.now(), seconds=seconds, grace=grace, codes=codes, stay=stay
            )
        )

    def end_maintenance(self) -> None:
        """Like `ScriptedExchange.end_maintenance`."""
        self.call(self.exchange.end_maintenance)

    # --- how all links behave ---

    def slow_down(self, seconds: float) -> None:
        """Like `ScriptedExchange.slow_down`: delay all output by `seconds`; 0 ends the delay."""
        self.call(lambda: self.exchange.slow_down(seconds))

    def hold(self) -> None:
        """Like `ScriptedExchange.hold`: hold back all output."""
        self.call(self.exchange.hold)

    def release(self) -> None:
        """Like `ScriptedExchange.release`: send the held output at once."""
        self.call(self.exchange.release)

    def go_silent(self, *, acts: bool = False) -> None:
        """Like `ScriptedExchange.go_silent`: send nothing, and keep the sockets open."""
        self.call(lambda: self.exchange.go_silent(acts=acts))

    def speak(self) -> None:
        """Like `ScriptedExchange.speak`: end the silence."""
        self.call(self.exchange.speak)
