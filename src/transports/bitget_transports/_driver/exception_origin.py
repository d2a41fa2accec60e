"""Who raised an exception: the network, through a call of ours, or the caller's own code.

An exception may come from outside at any moment, most often from a signal handler: between two instructions of ours, or inside
a system call. Its class proves nothing: handlers raise TimeoutError by custom, which is an OSError. Taken for the network's
word, it would be swallowed, and a frame that has left would be called unsent and be sent again.

The traceback proves it. What the network says is raised by the call that we made: the frames in between are ours and those of
the library that we call. A signal handler, a callback or a tracer has a frame of its own. What a handler written in C raises,
or what is set from another thread (PyThreadState_SetAsyncExc), has none; but an OSError then has no errno either, which one
from the system always has.

In doubt an exception is the caller's. It then comes out, and the channel ends honestly: a mistake costs a connection, where the
other mistake would cost the truth.
"""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import Self

_KNOWN = sys.stdlib_module_names | {"bitget_proto", "bitget_transports", "websockets"}
"""The packages whose errors answer a call of ours."""


def is_callers(error: BaseException, *called: object) -> bool:
    """Whether the caller's own code raised this exception, and not what we called.

    `called` are what we called besides the usual: objects of the caller's whose methods answer for the network, as a socket of
    another world's does, and names of packages. Call it where the exception was caught.
    """
    at = error.__traceback__
    while at is not None:
        if _package(at.tb_frame) not in _KNOWN and not _is_of(at.tb_frame, called):
            return True
        at = at.tb_next
    # A library may have taken it for a fault of its input, and have raised another from it. `__context__` proves nothing: it
    # may be what the caller was handling when it called.
    return error.__cause__ is not None and is_callers(error.__cause__, *called)


def is_systems(error: OSError, *called: object) -> bool:
    """Whether the system said this to a call of ours, or an object that we called said it in the system's place."""
    if is_callers(error, *called):
        return False
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return error.errno is not None or (at is not None and _is_of(at.tb_frame, called))


class suppress_ours:  # noqa: N801 - as contextlib.suppress, whose place it takes
    """As `contextlib.suppress`, but what the caller's own code raises comes out, whatever its class."""

    def __init__(self, *classes: type[BaseException], called: tuple[object, ...] = ()) -> None:
        self._classes = classes
        self._called = called

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, self._classes) and not is_callers(error, *self._called)


def _is_of(frame: FrameType, called: tuple[object, ...]) -> bool:
    """Whether this is a call of a method of one of these objects, or in one of these packages."""
    code, package = frame.f_code, _package(frame)
    myself = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    return any(
        it is not None and (package == it if isinstance(it, str) else myself is it) for it in called
    )


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
