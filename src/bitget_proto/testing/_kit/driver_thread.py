"""The thread of a driver under test: makes the driver, runs it, and frees it.

Objects of some libraries (Tk, Qt) must be used and freed in one thread. So the driver is freed in
the thread that made it. Automatic garbage collection is off meanwhile, so that no other thread
frees it.
"""

from __future__ import annotations

import _thread
import gc
import sys
import sysconfig
import threading
import traceback
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from ..._machine.connection import Connection
from ..._machine.session import Session
from ..._values.set_module import set_module

_STDLIB = sysconfig.get_path("stdlib")


@set_module("bitget_proto.testing")
class DriverUnderTest(Protocol):
    """The interface that the kit needs of a driver."""

    def run(self) -> None:
        """Dial, open and drive the connection until it is `Closed`, then return.

        It blocks, and starts any event loop that it needs.
        """
        ...

    def call(self, fn: Callable[[Connection, float], object], /) -> object:
        """Run `fn(connection, now)` in the thread of `run`, then drain.

        It is called from other threads.
        """
        ...


@set_module("bitget_proto.testing")
class SessionDriverUnderTest(Protocol):
    """The interface that the kit needs of a driver of a `Session`."""

    def run(self) -> None:
        """Drive the session, beginning with a drain, until it is `Ended`, then return.

        It blocks, and starts any event loop that it needs.
        """
        ...

    def call(self, fn: Callable[[Session, float], object], /) -> object:
        """Run `fn(session, now)` in the thread of `run`, then drain.

        It is called from other threads.
        """
        ...


MakeDriver: TypeAlias = Callable[[Connection, str], DriverUnderTest]
"""Makes a driver for a connection and the URL of the exchange, in the thread of `run`."""

MakeSessionDriver: TypeAlias = Callable[[Session, str], SessionDriverUnderTest]
"""Makes a driver for a session and the URL of the exchange, in the thread of `run`."""

AnyDriver: TypeAlias = DriverUnderTest | SessionDriverUnderTest


class DriverThread:
    """Runs a driver in the thread that calls `serve`; other threads start, watch and release it."""

    def __init__(self, make: Callable[[], AnyDriver], on_end: Callable[[], object]) -> None:
        self.failed = ""
        """What `make_driver` or `run` raised and where, or another failure; empty without one."""
        self.ident = 0
        """The identifier of the thread."""

        self._make = make
        self._on_end = on_end
        self._driver: AnyDriver | None = None
        self._made = threading.Event()
        self._go = threading.Event()
        """Set by `start`, and by `release` for a driver that was never started."""
        self._started = False
        self._returned = threading.Event()
        self._released = threading.Event()
        self._ending = threading.Lock()
        """Held to note the end, and to interrupt, so that no interrupt comes after the end."""

    def serve(self) -> None:
        """Make the driver and run it, after `start`; free it after `release`."""
        self.ident = threading.get_ident()
        self._go.wait()
        if self._started:
            try:
                self._make_and_run()
            finally:
                with suppress(KeyboardInterrupt), self._ending:  # `release` may interrupt late
                    self._returned.set()
                self._returned.set()
                self._on_end()
        self._released.wait()
        self._free()

    def start(self) -> None:
        """Let `serve` make and run the driver."""
        self._started = True
        self._go.set()

    def release(self) -> None:
        """Let `serve` free the driver. Interrupt `run` if it still occupies the main thread."""
        self._go.set()
        self._released.set()
        with self._ending:
            if self.running and self.ident == threading.main_thread().ident:
                _thread.interrupt_main()

    # --- for other threads ---

    def driver(self, seconds: float) -> AnyDriver:
        """Return the driver, once `make_driver` has returned it.

        Raises: RuntimeError when it has not returned one within `seconds`.
        """
        self._made.wait(seconds)
        if self._driver is None:
            raise RuntimeError("there is no driver")
        return self._driver

    @property
    def made(self) -> bool:
        """Whether `make_driver` has returned a driver."""
        return self._made.is_set()

    @property
    def doing(self) -> str:
        """The call that the thread is in, or was in last."""
        return "run()" if self.made else "make_driver"

    @property
    def running(self) -> bool:
        """Whether the driver was started and has not returned."""
        return self._started and not self._returned.is_set()

    def returned(self, seconds: float) -> bool:
        """Wait up to `seconds` for `run` to return; return whether it has."""
        return not self._started or self._returned.wait(seconds)

    def stands(self) -> str:
        """Describe the calls that the thread is in, innermost first; empty after `run` ends."""
        frame = sys._current_frames().get(self.ident)
        if frame is None or not self.running:
            return ""
        stack = list(traceback.extract_stack(frame))
        begins = [number for number, one in enumerate(stack) if one.filename == __file__]
        calls = stack[begins[-1] + 1 :] if begins else []
        shown = [one for one in calls if not one.filename.startswith(_STDLIB)][-2:]
        shown += [one for one in calls[-1:] if one not in shown]
        places = [f"{one.name}() ({Path(one.filename).name}, line {one.lineno})" for one in shown]
        return "; its thread is in " + ", called by ".join(reversed(places)) if places else ""

    # --- private ---

    def _make_and_run(self) -> None:
        try:
            made = self._make()
            lacks = [name for name in ("run", "call") if not callable(getattr(made, name, None))]
            if lacks:
                self.failed = f"make_driver returned {made!r}, which has no {lacks[0]}(): a driver has run() and call(fn)"
                return
            self._driver, run = made, cast("Callable[[], object]", made.run)
            self._made.set()
            result = run()
            if isinstance(result, Coroutine):
                result.close()
                self.failed = (
                    "run() is a coroutine function: it must block, and start its own event loop"
                )
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not self._released.is_set():
                raise
            self.failed = f"{self.doing} raised {error!r}{raised_at(error)}"

    def _free(self) -> None:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            alive = _reference(self._driver)
            self._driver = None
            for generation in (1, 2):
                if alive() is not None:
                    gc.collect(generation)
        finally:
            if was_enabled:
                gc.enable()


def _reference(driver: object) -> Callable[[], object]:
    """Return a function that returns None once the driver is freed, if that can be known."""
    try:
        return weakref.ref(driver)
    except TypeError:
        return lambda: driver is not None


def raised_at(error: BaseException) -> str:
    """Return the innermost line of an error in brackets; empty when it is not the driver's code."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return (
        ""
        if Path(last.filename).parent == Path(__file__).parent or last.filename.startswith("<")
        else f" ({Path(last.filename).name}, line {last.lineno})"
    )
