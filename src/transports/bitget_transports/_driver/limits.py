"""The limits of a channel. The limits of the exchange and of the protocol are in
`bitget_proto.Config`.
"""

from __future__ import annotations

import attrs

from .checks import check_count, check_seconds
from .set_module import set_module


@set_module("bitget_transports")
@attrs.frozen(kw_only=True)
class Limits:
    """Timeouts of a channel's socket, in seconds, and how much the channel keeps. None switches a
    limit off.

    Raises: ValidationError with the name of the limit, the value, and what is allowed.
    """

    open_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds to connect, including TLS and the WebSocket handshake. `Config.login_timeout` starts
    after that.
    """

    up_timeout: float | None = attrs.field(default=60.0, validator=check_seconds)
    """Seconds that `open_session` waits for its first login to be accepted, for any number of
    dials.
    """

    first_dials: int | None = attrs.field(default=None, validator=check_count)
    """The number of failed dials after which `open_session` raises, before its first login is
    accepted; 1 to raise at the first failure. A link that ends before its login is answered counts
    as a failed dial. Refused logins are not counted: the session knows which of them to retry.
    """

    write_timeout: float | None = attrs.field(default=10.0, validator=check_seconds)
    """Seconds to write a frame, after which the connection counts as lost."""

    close_timeout: float | None = attrs.field(default=2.0, validator=check_seconds)
    """Seconds for the WebSocket closing handshake, after which the socket is closed.
    `Config.drain_timeout` applies before that.
    """

    max_events: int | None = attrs.field(default=1000, validator=check_count)
    """The number of unread events that `channel.events` keeps. Beyond it, the oldest are dropped
    and counted in a `Dropped`.
    """

    max_event_chars: int | None = attrs.field(default=2**24, validator=check_count)
    """The number of characters from the exchange in all unread events. Beyond it, the oldest are
    dropped and counted in the same way. A message longer than `Config.max_message` becomes an event
    with its whole text, and a thousand such events could fill the memory.
    """


def frame_limit(max_message: int | None) -> int | None:
    """Return the maximum size of a message on the wire, in bytes.

    A character is at most 4 bytes of UTF-8. A message longer than `max_message` is read and
    reported as `Unrecognised`; one longer than this limit ends the connection, so that no message,
    whole or in fragments, can fill the memory.
    """
    return None if max_message is None else max(4 * max_message, 2**20)
