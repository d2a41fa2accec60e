"""Finds out whether an exception comes from the network or from the caller's own code.

Code of the caller, most often a signal handler, may raise at any moment: between two instructions
of ours, or during a system call. The class of the exception proves nothing: signal handlers
commonly raise TimeoutError, which is an OSError. If it were mistaken for a network error, it would
be swallowed, and a frame that was sent would be reported as unsent and be sent again.

The traceback decides. A network error is raised by a call that we made, so every frame belongs to
us or to the library that we called. A signal handler, a callback or a tracer has a frame of its
own. An exception from a handler written in C, or set from another thread
(PyThreadState_SetAsyncExc), has no such frame. But such an OSError has no errno, and an OSError
from the system always has one.

In doubt, the exception counts as the caller's: it is raised, and the channel ends. That mistake
costs a connection; the opposite mistake would cause a wrong outcome.
"""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import Self

_KNOWN = sys.stdlib_module_names | {
    "bitget_proto",
    "bitget_transports",
    "python_socks",
    "websockets",
}
"""The packages whose exceptions result from a call of ours."""


def raised_by_caller(error: BaseException, *called: object) -> bool:
    """Return whether the caller's own code raised this exception, and not something that we called.

    `called` is what we called in addition to `_KNOWN`: names of packages, and objects of the caller
    whose methods act for the network, such as a gevent socket. Call this where the exception was
    caught.
    """
    at = error.__traceback__
    while at is not None:
        if _package(at.tb_frame) not in _KNOWN and not _is_of(at.tb_frame, called):
            return True
        at = at.tb_next
    # A library may have mistaken it for an error in its input, and raised another one from it.
    # `__context__` proves nothing: it may be an exception that the caller was handling.
    return error.__cause__ is not None and raised_by_caller(error.__cause__, *called)


def is_systems(error: OSError, *called: object) -> bool:
    """Return whether the system raised this from a call of ours, or an object in `called` did so in
    place of the system.
    """
    if raised_by_caller(error, *called):
        return False
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return error.errno is not None or (at is not None and _is_of(at.tb_frame, called))


class suppress_ours:  # noqa: N801 - named like contextlib.suppress, which it replaces
    """Like `contextlib.suppress`, but exceptions from the caller's own code are never suppressed,
    whatever their class.
    """

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
        return isinstance(error, self._classes) and not raised_by_caller(error, *self._called)


def _is_of(frame: FrameType, called: tuple[object, ...]) -> bool:
    """Return whether this frame is a method of one of these objects, or in one of these packages."""
    code, package = frame.f_code, _package(frame)
    this = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    return any(
        it is not None and (package == it if isinstance(it, str) else this is it) for it in called
    )


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
