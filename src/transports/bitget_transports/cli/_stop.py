"""What Ctrl-C means here: first to stop sending, then to end at once.

Rules of this file
- A signal raises nothing by itself: an exception at any odd place could lose an outcome. It calls whoever works to wake up.
- The first asks to stop sending and to wait, bounded, for what is out. The second asks to end now. The third is Python's own.
- SIGTERM asks for the same as SIGINT.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from ._exit_codes import Exit


class Stop:
    """Whether, and how urgently, somebody wants this to end."""

    def __init__(self) -> None:
        self.asked = 0
        """How often."""
        self.why = Exit.INTERRUPTED
        """What to end with when asked."""
        self._wake: Callable[[], object] | None = None

    def ask(self, why: Exit = Exit.INTERRUPTED) -> None:
        """Ask to stop; once more, to end at once."""
        self.asked += 1
        if self.asked == 1:
            self.why = why
        if self._wake is not None:
            self._wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None]:
        """Have this called, in the midst of whatever the main thread does, each time that somebody asks."""
        self._wake = wake
        try:
            if self.asked:
                wake()
            yield
        finally:
            self._wake = None

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals, in the main thread; elsewhere there are none to take."""
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
