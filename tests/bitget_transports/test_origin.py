"""Errors of the network and of the caller's code are distinguished by where they come from."""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import ECONNRESET, ETIMEDOUT
from functools import partial

import pytest

from bitget_transports._driver.exception_origin import is_systems, raised_by_caller, suppress_ours

_REFUSES = ("127.0.0.1", 1)
"""An address that nothing listens on."""


def caught(raising: Callable[[], object]) -> BaseException:
    """Return what `raising` raises, with a traceback that starts inside it."""
    try:
        raising()
    except Exception as error:  # noqa: BLE001 - it is returned
        traceback = error.__traceback__
        return error.with_traceback(None if traceback is None else traceback.tb_next)
    raise AssertionError("it raised nothing")


def alarm() -> None:
    raise TimeoutError(ETIMEDOUT, "alarm")


def connect_elsewhere() -> None:
    socket.create_connection(_REFUSES)


def test_a_system_error_in_a_call_of_ours_is_not_the_callers() -> None:
    error = caught(partial(socket.create_connection, _REFUSES))
    assert isinstance(error, ConnectionRefusedError)
    assert not raised_by_caller(error)


def test_an_error_raised_in_the_callers_function_is_the_callers() -> None:
    assert raised_by_caller(caught(alarm))


def test_a_system_error_in_a_call_of_the_callers_is_the_callers() -> None:
    error = caught(connect_elsewhere)
    assert isinstance(error, ConnectionRefusedError)
    assert raised_by_caller(error)


def test_the_callers_error_is_found_as_the_cause_of_another() -> None:
    error = ValueError("unreadable")
    assert not raised_by_caller(error)
    error.__cause__ = caught(alarm)
    assert raised_by_caller(error)


def test_the_context_of_an_error_does_not_make_it_the_callers() -> None:
    error = ConnectionResetError(ECONNRESET, "reset")
    error.__context__ = caught(alarm)
    assert not raised_by_caller(error)


def test_an_error_without_an_errno_is_not_the_systems() -> None:
    assert not is_systems(TimeoutError())
    assert is_systems(TimeoutError(ETIMEDOUT, "timed out"))
    error = caught(alarm)
    assert isinstance(error, OSError)
    assert not is_systems(error)


def test_an_error_from_the_callers_socket_counts_as_the_systems() -> None:
    class Own(socket.socket):
        def send(self, *_: object) -> int:
            raise BlockingIOError

    with Own() as sock:
        error = caught(partial(sock.send, b""))
        assert isinstance(error, BlockingIOError)
        assert (raised_by_caller(error), is_systems(error)) == (True, False)
        assert (raised_by_caller(error, sock), is_systems(error, sock)) == (False, True)


def test_an_error_from_the_named_package_is_not_the_callers() -> None:
    error = caught(alarm)
    assert not raised_by_caller(error, __name__.partition(".")[0])


@pytest.mark.parametrize(
    ("raised", "suppressed"),
    [(ConnectionResetError(ECONNRESET, "reset"), True), (KeyError(), False)],
)
def test_an_error_in_the_librarys_own_code_is_suppressed_by_its_class(
    raised: Exception, suppressed: bool
) -> None:
    ours = {
        "__name__": "bitget_transports.somewhere",
        "suppress": suppress_ours(OSError),
        "raised": raised,
    }
    library = partial(exec, "with suppress:\n    raise raised", ours)
    if suppressed:
        library()
    else:
        with pytest.raises(KeyError):
            library()


def test_an_error_of_the_callers_is_not_suppressed() -> None:
    ours = {
        "__name__": "bitget_transports.somewhere",
        "suppress": suppress_ours(OSError),
        "alarm": alarm,
    }
    with pytest.raises(TimeoutError):
        exec("with suppress:\n    alarm()", ours)
