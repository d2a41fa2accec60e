"""The limits of one connection.

If the exchange gives a number for a limit, that number is the default, and the docstring says so.
All other defaults are our choice. Values are validated on creation.
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
    """Validate a limit in seconds, or None."""
    if value is None:
        return
    if not is_seconds(value) or value == inf:
        raise ValidationError(
            f"{attribute.name} must be a finite number of seconds above 0, or None for no limit; "
            f"got {safe_repr(value)}"
        )


def check_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a limit that is a count, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(
            f"{attribute.name} must be a whole number from 1 up, or None for no limit; got "
            f"{safe_repr(value)}"
        )


def check_flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a bool."""
    if not isinstance(value, bool):
        raise ValidationError(f"{attribute.name} must be True or False; got {safe_repr(value)}")


def _prefix(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or len(value) > 20 or (value and not is_request_id(value)):
        raise ValidationError(
            f"{attribute.name} must be at most 20 of the characters 0-9 A-Z a-z _ : # - + and "
            f"space, so that a counter fits into the 40 characters of an id; got {safe_repr(value)}"
        )


def _plain(value: str) -> str:
    """Convert a `str` subclass to `str`: the f-string of an enum member is not its value."""
    return str.__str__(value) if isinstance(value, str) else value


@set_module("bitget_proto")
@attrs.frozen(kw_only=True)
class Config:
    """The limits of a `Connection`, in seconds, characters or bytes, and counts.

    None switches a limit off.

    Raises: ValidationError that names the limit, the value given and what is allowed.
    """

    login_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from `opened` to the answer to the login. Our choice."""

    ping_interval: float | None = attrs.field(default=30.0, validator=check_seconds)
    """Seconds from one ping to the next. "Users set a timer to 30 seconds" (Websocket API,
    Connect); the exchange drops a connection that has sent no ping for 2 minutes."""

    pong_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from the time a ping is due to its pong. Our choice: the exchange gives no number."""

    answer_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds from sending a cancel to its outcome. Our choice."""

    queue_timeout: float | None = attrs.field(default=150.0, validator=check_seconds)
    """Seconds from `cancel` to sending. Our choice: 1000 cancels at 10 a second take 105 s."""

    silence: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds without any message, while a sent cancel is unanswered, after which a ping probes the
    link. There is one such ping until the next message. Our choice."""

    silence_pong: float | None = attrs.field(default=3.0, validator=check_seconds)
    """Seconds from sending that ping within which a message must come. If none comes, the link is
    considered dead. While the ping cannot be written, the time counts from when it could have been
    sent. Our choice."""

    drain_timeout: float | None = attrs.field(default=5.0, validator=check_seconds)
    """Seconds that `close` waits for answers. Our choice."""

    messages_per_second: int | None = attrs.field(default=10, validator=check_count)
    """Messages in any second, including the login and pings. "The Websocket server accepts up to 10
    messages per second" (Websocket API, Connect); above that, it closes the connection."""

    pace_margin: float | None = attrs.field(default=MARGIN, validator=check_seconds)
    """Seconds added to the one-second window in which messages are counted, because frames that are
    sent a second apart may arrive closer together. Our choice."""

    max_in_flight: int | None = attrs.field(default=1000, validator=check_count)
    """Cancels without an outcome, including queued ones."""

    max_batch: int | None = attrs.field(default=20, validator=check_count)
    """Cancels in one frame, on unified accounts; 1 sends each in a frame of its own. The exchange's
    page has no number for the WebSocket; REST takes 20."""

    max_message: int | None = attrs.field(default=65536, validator=check_count)
    """Maximum length of a received message: characters of a `str`, bytes of `bytes`."""

    max_depth: int | None = attrs.field(default=32, validator=check_count)
    """Maximum nesting of objects and lists in a received message. Messages of up to 16 characters
    per allowed level, but at most 512 characters, are not checked."""

    max_own_frames: int | None = attrs.field(default=100, validator=check_count)
    """Your own frames that wait to be sent."""

    late_ids: int | None = attrs.field(default=1024, validator=check_count)
    """Sent cancels that ended Unresolved and are remembered, so that a late reply is recognised."""

    id_prefix: str = attrs.field(default="bgproto", converter=_plain, validator=_prefix)
    """The prefix of generated ids: at most 20 characters that an id may contain. Answers are
    matched by id alone, so no other frame on the socket may have an id with this prefix."""
