"""Raises an exception at a chosen line of the core, as a signal handler may.

CPython runs a signal handler where a function is entered or left and where a loop repeats: possibly
at any line, but not between the removal of an output and its return. Those two lines are excluded,
by their text.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from bitget_proto import Connection
from bitget_proto._machine import cancel_queue as _cancel_queue
from bitget_proto._machine import connection as _connection
from bitget_proto._machine import deadlines as _timers
from bitget_proto._machine import frame_queue as _frame_queue
from bitget_proto._machine import heartbeat as _heartbeat
from bitget_proto._machine import in_flight as _in_flight
from bitget_proto._machine import message_events as _message_events
from bitget_proto._machine import outcomes as _outcomes
from bitget_proto._machine import rate_limit as _pace
from bitget_proto._machine import request_ids as _request_ids

PARTS: tuple[ModuleType, ...] = (
    _connection,
    _cancel_queue,
    _frame_queue,
    _heartbeat,
    _in_flight,
    _message_events,
    _outcomes,
    _pace,
    _request_ids,
    _timers,
)
"""A connection and its parts."""

_RETURNS = ("return output", "return frame")


@contextmanager
def uncollected() -> Generator[None]:
    """Disable the garbage collector: an exception in one of its callbacks, such as that of
    Hypothesis, reaches no caller.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Interrupt(BaseException):
    """The exception that a handler raises."""


def interrupted(
    call: Callable[[], object],
    nth: int,
    parts: Collection[ModuleType] = PARTS,
    within: str | None = None,
) -> bool:
    """Call it, raise at the n-th executed line of these modules, and return whether it was reached.

    With `within`, only lines executed during a function of that name count.
    """
    files = {module.__file__ for module in parts}
    left = nth

    def under_way(frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code.co_name != within:
            frame = frame.f_back
        return frame is not None

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and not _is_return(frame) and (within is None or under_way(frame)):
            left -= 1
            if left == 0:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def lines(call: Callable[[], object], probe: Callable[[], bool]) -> list[int]:
    """Call it; return the lines, as `interrupted` counts them, where the probe held."""
    files = {module.__file__ for module in PARTS}
    held: list[int] = []
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and not _is_return(frame):
            count += 1
            if probe():
                held.append(count)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return held


def interrupt(conn: Connection, now: float) -> None:
    """Let an exception pass through a call that has begun to change state."""
    nth = 0
    while not conn._in_call:
        nth += 1
        assert interrupted(lambda: conn.handle_timeout(now), nth), "the call was not interrupted"


_sources: dict[str, list[str]] = {}


def _is_return(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    if frame.f_code.co_name != "poll":
        return False
    lines = _sources.setdefault(name, Path(name).read_text(encoding="utf-8").splitlines())
    return lines[frame.f_lineno - 1].strip() in _RETURNS
