"""The log of the transports: the logger `bitget_transports`, which is silent until configured."""

from __future__ import annotations

import logging
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from bitget_proto import CallerError

_LOGGER: Final = logging.getLogger("bitget_transports")
_LOGGER.addHandler(logging.NullHandler())

_CONSEQUENCES: Final = MappingProxyType({
    "jitter": "this backoff has no jitter",
    "wall_clock": "the next dial waits until it returns a time",
    "trace": "nothing more is recorded",
})  # fmt: skip


def log_caller_error(event: CallerError) -> None:
    """Log that a function of the caller failed, with its traceback; then drop the traceback.

    A traceback holds frames, which hold their callers' frames. An event with one would keep an
    iterator of `cancel_many` alive that the caller has left.
    """
    # The handlers and filters of a log are the caller's as well.
    with suppress(Exception):
        _LOGGER.error(
            "%s failed, and %s: %s",
            event.where,
            _CONSEQUENCES[event.where],
            event.detail,
            exc_info=event.error,
        )
    errors: list[BaseException | None] = [event.error]
    for error in errors:
        if error is not None and error.__traceback__ is not None:
            error.__traceback__ = None
            errors += [error.__cause__, error.__context__]
