"""The limits of one connection, each a value that can be changed or, with None, switched off.

Rules of this file
- A default is the exchange's number where it gives one, and says so; else it is ours.
- Checked when made: a connection never meets a limit that makes no sense.
"""

from __future__ import annotations

from math import inf
from typing import Any

import attrs

from .._values.errors import ValidationError, safe_repr
from .._values.orders import is_request_id
from .._values.set_module import set_module
from .deadlines import is_seconds
from .rate_limit import MARGIN


def check_seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A validator: a limit in seconds, or None."""
    if value is None:
        return
    if not is_seconds(value) or value == inf:
        raise ValidationError(
            f"{attribute.name} must be a finite number of seconds above 0, or None for no limit; got {safe_repr(value)}"
        )


def check_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A validator: a limit that is a count, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(
            f"{attribute.name} must be a whole number from 1 up, or None for no limit; got {safe_repr(value)}"
        )


def check_flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A validator: a choice between yes and no."""
    if not isinstance(value, bool):
        raise ValidationError(f"{attribute.name} must be True or False; got {safe_repr(value)}")


def _prefix(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or len(value) > 20 or (value and not is_request_id(value)):
        raise ValidationError(
            f"{attribute.name} must be at most 20 of the characters 0-9 A-Z a-z _ : # - + and space, so that a counter has "
            f"room in the 40 of an id; got {safe_repr(value)}"
        )


def _plain(value: str) -> str:
    """A string subclass as the string it is: an enum member's f-string is not its value."""
    return str.__str__(value) if isinstance(value, str) else value


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Config:
    """The limits of a `Connection`. Seconds, characters or bytes, and counts; None switches a limit off.

    Raises: ValidationError that names the limit, what came and what is allowed.
    """

    login_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from `opened` to the answer of the login. Ours."""

    ping_interval: float | None = attrs.field(default=30.0, validator=check_seconds)
    """Seconds from one ping to the next. "Users set a timer to 30 seconds" (Websocket API, Connect); a connection that
    sent none for 2 minutes is dropped."""

    pong_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from a ping falling due to its pong. Ours: the exchange sets none."""

    answer_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from sending a cancel to its outcome. Ours."""

    queue_timeout: float | None = attrs.field(default=150.0, validator=check_seconds)
    """Seconds from `cancel` until it is sent. Ours: at 10 a second a thousand cancels take 105 s."""

    silence: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds for which a sent cancel is unanswered, and no message of any kind comes, until the exchange is asked whether
    it is there: by a ping, once until the next message. Ours."""

    silence_pong: float | None = attrs.field(default=3.0, validator=check_seconds)
    """Seconds from the sending of that ping within which a message must come, or the link is taken for dead; from when it could
    have been sent, while it cannot be written. Ours."""

    drain_timeout: float | None = attrs.field(default=5.0, validator=check_seconds)
    """Seconds that `close` waits for answers. Ours."""

    messages_per_second: int | None = attrs.field(default=10, validator=check_count)
    """Messages in any second, login and pings included. "The Websocket server accepts up to 10 messages per second"
    (Websocket API, Connect); over it the connection is closed."""

    pace_margin: float | None = attrs.field(default=MARGIN, validator=check_seconds)
    """Seconds added to the second in which messages are counted: frames that leave a second apart may arrive closer together.
    Ours."""

    max_in_flight: int | None = attrs.field(default=1000, validator=check_count)
    """Cancels without an outcome, the queued ones included."""

    max_message: int | None = attrs.field(default=65536, validator=check_count)
    """Length of a message that is read: characters of a `str`, bytes of `bytes`."""

    max_depth: int | None = attrs.field(default=32, validator=check_count)
    """Nesting of objects and lists in a message that is read; not looked at in one of up to 16 characters for each level, 512
    at most."""

    max_own_frames: int | None = attrs.field(default=100, validator=check_count)
    """Frames of your own that wait to leave."""

    late_ids: int | None = attrs.field(default=1024, validator=check_count)
    """Cancels that ended Unresolved after they were sent and are remembered, so that a late reply is known as one."""

    id_prefix: str = attrs.field(default="bgproto", converter=_plain, validator=_prefix)
    """What generated ids begin with: at most 20 of the characters of an id. An answer is matched by its id alone, so no other
    frame on the socket may have an id that begins so."""
