"""What a `FlakyProxy` does to each connection, and random plans of such treatments."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from enum import Enum

import attrs

from .._driver.set_module import set_module


@set_module("bitget_transports.faults.flaky_proxy")
class Way(Enum):
    """A direction of a connection."""

    OUT = "out"
    """From the client to the exchange."""

    BACK = "back"
    """From the exchange to the client."""


@set_module("bitget_transports.faults.flaky_proxy")
class NetworkFault(Enum):
    """A fault of a connection, applied once."""

    CLOSE = "close"
    """Both sides see the end of the stream, possibly in the middle of a frame."""

    RESET = "reset"
    """Both sides see a reset."""

    STALL = "stall"
    """No more bytes are passed on in this direction; the other direction continues."""

    CORRUPT = "corrupt"
    """The next frame header has reserved bits set, or the handshake has a NUL."""


@set_module("bitget_transports.faults.flaky_proxy")
@attrs.frozen(kw_only=True)
class Treatment:
    """What the proxy does to one connection."""

    piece: int | None = None
    """Bytes that are passed on at a time; None passes them on as they come."""

    fragment: int | None = None
    """Bytes of each fragment into which messages from the exchange are cut, with an empty fragment
    before each; None passes messages on as they come. Not for TLS. A message is kept until it is
    complete.
    """

    delay: float = 0.0
    """Seconds by which all data is delayed."""

    fault: NetworkFault | None = None
    way: Way = Way.BACK
    """The direction whose bytes are counted for the fault, and which stalls."""

    after: int = 0
    """How many bytes are passed on in that direction before the fault."""

    stall: float = 10.0
    """Seconds after which a stalled connection is reset, as on a route that stays dead."""


def random_plan(
    seed: int,
    cuts: int,
    mean: int,
    faults: Iterable[tuple[NetworkFault, int]] = (
        (NetworkFault.RESET, 4),
        (NetworkFault.CLOSE, 4),
        (NetworkFault.CORRUPT, 1),
        (NetworkFault.STALL, 1),
    ),
) -> Iterator[Treatment]:
    """Yield `cuts` treatments with a fault each, after `mean` bytes on average.

    One fault in ten comes after fewer than 300 bytes: in the handshake or shortly after it.

    `faults` are the faults to choose from, with their relative weights.
    """
    chance = random.Random(seed)  # noqa: S311 - a plan is not a secret
    fragments = random.Random(f"fragments {seed}")  # noqa: S311
    names, weights = zip(*faults, strict=True)
    for _ in range(cuts):
        yield Treatment(
            piece=chance.choice((None, None, None, 1, 7, 50, 200)),
            fragment=fragments.choice((None, None, None, 1, 10)),
            delay=chance.choice((0.0, 0.0, 0.0, 0.0001, 0.001)),
            fault=chance.choices(names, weights)[0],
            way=chance.choice(tuple(Way)),
            after=chance.randrange(2 * mean) if chance.random() > 0.1 else chance.randrange(300),
        )
