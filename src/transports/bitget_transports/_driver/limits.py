"""The limits of a channel's own, and what follows for the wire from those of the protocol, which are in `bitget_proto.Config`.

Rules of this file
- Each is a value that can be changed or, with None, switched off. All are ours: the exchange's numbers are in `Config`.
- Checked when made: a channel never meets a limit that makes no sense.
"""

from __future__ import annotations

import attrs

from .checks import check_count, check_seconds
from .set_module import set_module


@set_module("bitget_transports")
@attrs.frozen(kw_only=True)
class Limits:
    """How long a channel's socket may take, and how much it keeps. Seconds and counts; None switches a limit off.

    Raises: ValidationError that names the limit, what came and what is allowed.
    """

    open_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds to connect, TLS and the WebSocket's handshake included. `Config.login_timeout` comes on top."""

    up_timeout: float | None = attrs.field(default=60.0, validator=check_seconds)
    """Seconds that `open_session` waits for its first login to be accepted, however many dials that takes."""

    first_dials: int | None = attrs.field(default=None, validator=check_count)
    """How many dials of `open_session` may fail before its first login is accepted; 1 to be told of the first failure. Logins
    that are refused are not counted: the session knows which of them to try again."""

    write_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds that a frame may take to leave, before the connection is taken for lost."""

    close_timeout: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds for the WebSocket's closing handshake, before the connection is cut. `Config.drain_timeout` comes before."""

    max_events: int | None = attrs.field(default=1000, validator=check_count)
    """Events that `channel.events` keeps for a reader; of more, the oldest are dropped and counted in a `Dropped`."""

    max_event_chars: int | None = attrs.field(default=2**24, validator=check_count)
    """Characters that the exchange may have written in them, together; of more, the oldest are dropped likewise. What is longer
    than `Config.max_message` is an event with all of its text, and a thousand such would fill the memory."""


def frame_limit(max_message: int | None) -> int | None:
    """The bytes that a message may have on the wire: enough that `Config.max_message` decides, and no more.

    A character is at most 4 bytes of UTF-8. What is longer than `max_message` is read and told as `Unrecognised`; what is
    longer than this ends the connection, so that no message, whole or in fragments, can fill the memory.
    """
    return None if max_message is None else max(4 * max_message, 2**20)
