"""`select.poll` in the words of `selectors`: what the blocking transport waits with, unless the caller says otherwise.

`selectors.PollSelector` does the same with more work, since it serves every kind of poll: see `benchmarks/NOTES.md`.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Any

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Poll(selectors.BaseSelector):
    """For sockets. The errors are those of `select.poll`, and KeyError for a socket that is not registered."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj.fileno(), events, data)
        self._poll.register(key.fd, _asked(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._key(fileobj)
        self._poll.unregister(key.fd)
        del self._keys[key.fd]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._key(fileobj)
        self._poll.modify(key.fd, _asked(events))
        self._keys[key.fd] = key = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Up: what is due at a time is not looked for before it.
        seen = self._poll.poll(
            None if timeout is None else ceil(timeout * 1e3) if timeout > 0.0 else 0
        )
        keys = self._keys
        return [
            (
                key := keys[fd],
                # An error or an end is told to whoever reads and to whoever writes.
                key.events
                & (
                    (_READ if said & ~select.POLLOUT else 0)
                    | (_WRITE if said & ~select.POLLIN else 0)
                ),
            )
            for fd, said in seen
        ]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """By the number of the socket."""
        return MappingProxyType(self._keys)

    def _key(self, fileobj: Any) -> selectors.SelectorKey:
        """One that its owner has closed has no number any more."""
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key
        raise KeyError(f"{fileobj!r} is not registered")


def _asked(events: int) -> int:
    return (select.POLLIN if events & _READ else 0) | (select.POLLOUT if events & _WRITE else 0)
