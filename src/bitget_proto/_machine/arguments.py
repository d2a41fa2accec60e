"""Checks of the arguments of `Connection` and `Session` methods.

They are called, and may raise, before anything has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, cast

from .._values.credentials import SignedLogin
from .._values.errors import LocalProtocolError, NoRoom, ValidationError, safe_repr
from .._values.orders import CancelOrder
from .._wire.codec import Codec
from .deadlines import MAX, is_seconds

Queued: TypeAlias = Literal["drop", "send"]
"""What `close` does with what was not sent."""


def no_room_error(limit: int, in_flight: int, count: int) -> NoRoom:
    """Return the error for `count` more cancels when `in_flight` of `limit` have no outcome."""
    what = (
        "there is no room for one more"
        if count == 1
        else f"there is room for {limit - in_flight} of these {count}"
    )
    return NoRoom(f"Config.max_in_flight is {limit}, and {what}: wait for outcomes and try again")


def takes_no_more(core: str, what: Literal["cancels", "frames"]) -> LocalProtocolError:
    """Return the error of a core that is closing; `core` says so, as in "the session is closing"."""
    return LocalProtocolError(f"{core} and takes no more {what}: use another one")


def as_message(message: Any) -> str | bytes:
    """Return a message as `str` or `bytes`.

    A `bytearray` or `memoryview` is copied, because the caller may change it later.

    Raises: ValidationError for anything else.
    """
    if isinstance(message, (str, bytes)):
        return message
    if type(message) is bytearray or type(message) is memoryview:
        return bytes(message)
    raise ValidationError(f"message must be str or bytes; got {safe_repr(message)}")


def check_own_frames(waiting: int, limit: int | None) -> None:
    """Raise NoRoom if `limit` frames of the caller's own wait to be sent."""
    if limit is not None and waiting >= limit:
        raise NoRoom(
            f"Config.max_own_frames ({limit}) is reached: wait until one of your frames has been "
            "sent and try again"
        )


def check_login(login: object, *, opened: bool) -> None:
    """Check a call of `opened`. The argument `opened` says whether it was called before.

    Raises: LocalProtocolError if it was called before; ValidationError for an invalid login.
    """
    if opened:
        raise LocalProtocolError(
            "opened was called before: create a new Connection for each WebSocket"
        )
    if not isinstance(login, SignedLogin):
        raise ValidationError(
            f"login must be a SignedLogin; got {safe_repr(login)}: pass "
            "sign_login(credentials, int(time.time()))"
        )


def check_order(order: object, codec: Codec) -> None:
    """Raise ValidationError for anything but a `CancelOrder` that the codec's dialect can cancel."""
    if not isinstance(order, CancelOrder):
        raise ValidationError(
            f"order must be a CancelOrder; got {safe_repr(order)}: pass "
            "CancelOrder('BTCUSDT', order_id=…)"
        )
    codec.check_order(order)


def check_orders(orders: object, codec: Codec) -> list[CancelOrder]:
    """Return the orders as a list.

    Raises: ValidationError for anything but an iterable of orders that `check_order` accepts.
    """
    if not isinstance(orders, Iterable):
        raise ValidationError(f"orders must be an iterable of CancelOrder; got {safe_repr(orders)}")
    given = list(cast("Iterable[CancelOrder]", orders))
    for order in given:
        check_order(order, codec)
    return given


def check_timeout(timeout: object) -> float:
    """Return a timeout in seconds.

    Raises: ValidationError for anything but a number above 0.
    """
    if not is_seconds(timeout):
        raise ValidationError(
            "timeout must be a number of seconds above 0 (math.inf or None for no limit); got "
            f"{safe_repr(timeout)}"
        )
    return timeout


def check_closing(queued: object, within: object) -> None:
    """Raise ValidationError for arguments that `close` does not accept."""
    if queued not in ("drop", "send"):
        raise ValidationError(f"queued must be 'drop' or 'send'; got {safe_repr(queued)}")
    if within is not None and not is_seconds(within):
        raise ValidationError(
            f"within must be a number of seconds above 0, or None; got {safe_repr(within)}"
        )


def check_jitter(jitter: object) -> None:
    """Raise ValidationError for a jitter that cannot be called."""
    if not callable(jitter):
        raise ValidationError(
            f"jitter must be a function that returns numbers from 0 to 1; got {safe_repr(jitter)}: "
            "pass random.random"
        )


def check_new(latest: float) -> None:
    """Raise ValidationError if a core was used before it is recorded.

    `latest` is the time of its last call.
    """
    if latest > -MAX:
        raise ValidationError(
            "core was used before: record it before its first call, or its trace is incomplete"
        )


def check_frame(text: object) -> None:
    """Raise ValidationError for a text that cannot be sent as a WebSocket text message."""
    if not isinstance(text, str) or not text:
        raise ValidationError(f"text must be a string that is not empty; got {safe_repr(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError(
            "text must be a string that can be encoded as UTF-8; got one with a lone surrogate: "
            "remove it"
        ) from None


def check_rest_reply(reply: object) -> tuple[int, str | bytes]:
    """Return the status and the body of an HTTP answer.

    Raises: ValidationError for anything but a pair of a whole number, and text or bytes.
    """
    match reply:
        case (int() as status, (str() | bytes()) as body) if type(status) is int:
            return status, body
        case _:
            raise ValidationError(
                "reply must be the status and the body of an HTTP answer, such as (200, b'{}'); got "
                f"{safe_repr(reply)}"
            )


def check_retry_after(value: object) -> float:
    """Return the seconds of `Retry-After`.

    Raises: ValidationError for anything but a number from 0 up.
    """
    if isinstance(value, bool) or not isinstance(value, (float, int)) or not value >= 0:
        raise ValidationError(
            f"retry_after must be a number of seconds from 0 up, or None; got {safe_repr(value)}"
        )
    return value


def no_rest_error() -> LocalProtocolError:
    """Return the error for a report about a REST request of a session that sends none."""
    return LocalProtocolError(
        "the session sends nothing by REST: set SessionConfig.rest_after, or do not report a request"
    )


def check_unsent(unsent: object) -> None:
    """Raise ValidationError for anything but True or False."""
    if not isinstance(unsent, bool):
        raise ValidationError(f"unsent must be True or False; got {safe_repr(unsent)}")


def unsent_ids(unsent: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of cancels that were not sent; a string is one id.

    Raises: ValidationError for anything but an iterable of strings.
    """
    if isinstance(unsent, str):
        return (unsent,)
    if isinstance(unsent, Iterable):
        ids = tuple(unsent)
        if all(isinstance(id, str) for id in ids):
            return ids
    raise ValidationError(
        f"unsent must be ids of cancels; got {safe_repr(unsent)}: leave out every id "
        "that may have been sent"
    )
