"""Handles Ctrl-C and SIGTERM.

- The signal handler does not raise: an exception at an arbitrary place could lose an outcome. It
  calls the function that the running transport has registered.
- The first signal stops sending and waits, bounded, for the answers to sent cancels. The second
  skips the wait. The third has Python's default behaviour.
- SIGTERM and SIGINT are handled alike, except for the exit code.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from ._exit_codes import Exit


class Stop:
    """Counts the requests to stop."""

    def __init__(self) -> None:
        self.asked = 0
        """The number of requests."""
        self.why = Exit.INTERRUPTED
        """The exit code of the first request."""
        self._wake: Callable[[], object] | None = None

    def ask(self, why: Exit = Exit.INTERRUPTED) -> None:
        """Request to stop. A second request means to end at once."""
        self.asked += 1
        if self.asked == 1:
            self.why = why
        if self._wake is not None:
            self._wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None]:
        """Call `wake` at each request. A signal handler may do so anywhere in the main thread."""
        self._wake = wake
        try:
            if self.asked:
                wake()
            yield
        finally:
            self._wake = None

    @contextmanager
    def listening(self) -> Generator[None]:
        """Handle SIGINT and SIGTERM. In a thread other than the main thread, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in before:
                signal.signal(number, self._signalled)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            signal.signal(
                number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
            )
        self.ask(Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED)
