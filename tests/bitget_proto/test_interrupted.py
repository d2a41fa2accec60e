"""A signal's handler may raise at any line of the core: an outcome that was decided is not lost, nor told twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bitget_proto import Connection, Outcome, Wait
from bitget_proto import _connection as module

from .driving import ORDER, outputs, ready, reply

_SOURCE = Path(module.__file__).read_text(encoding="utf-8").splitlines()
_NO_HANDLER = {number for number, text in enumerate(_SOURCE, 1) if "_outputs.append(outcome)" in text}
"""CPython runs handlers where a function is called, and so none between a `del` and the line behind it."""


class _Interrupt(BaseException):
    """What a handler raises."""


def interrupted(call: Callable[[], object], line: int) -> bool:
    """Call it, and raise at the n-th line of the connection's that is run; whether it came so far."""
    left = line

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line" and frame.f_lineno not in _NO_HANDLER:
            left -= 1
            if left == 0:
                raise _Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except _Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def the_rest(connection: Connection) -> list[Outcome]:
    """All that comes, to the very end."""
    given = outputs(connection, 1.0)
    connection.handle_timeout(1e3)
    given += outputs(connection, 1e3)
    connection.lost(1e3)
    given += outputs(connection, 1e3)
    assert isinstance(connection.poll(1e3), Wait)
    assert connection.in_flight == 0
    return [one for one in given if isinstance(one, Outcome)]


WHAT: dict[str, Callable[[Connection], object]] = {
    "an answer": lambda connection: connection.receive(reply("a"), 1.0),
    "a deadline": lambda connection: connection.handle_timeout(20.0),
    "an end": lambda connection: connection.lost(1.0),
}


@pytest.mark.parametrize("what", WHAT)
def test_an_interruption_at_any_line_loses_and_doubles_no_outcome(what: str) -> None:
    line = 0
    came_so_far = True
    while came_so_far:
        line += 1
        connection = ready()
        for id in ("a", "b"):
            connection.cancel(ORDER, 0.0, id=id, timeout=0.5)
        outputs(connection, 0.0)
        came_so_far = interrupted(partial(WHAT[what], connection), line)
        assert sorted(one.id for one in the_rest(connection)) == ["a", "b"], line
    assert line > 10
