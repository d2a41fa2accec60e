"""Bounded turns, on every transport: what a parser and the core get before others have their turn.

Turns are counted, not timed. On an event loop, a turn is one of its iterations; on the blocking
transport, one call of `run_once`.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import Accepted, Closed, Config, Unresolved, WhyUnresolved
from bitget_transports import Limits
from bitget_transports._driver import driver as _driver
from bitget_transports._driver.turns import (
    CORE_MESSAGES,
    OVERDUE_MESSAGES,
    PARSER_BYTES,
    Arrivals,
    Unprocessed,
)
from bitget_transports.blocking._driver import BlockingDriver
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

from .colours import ASYNCIO, BOUND, KEY, Connect, Flavour, orders
from .tidy import CLOSE, CONTINUATION, PING, TEXT, frame, then_write_without_end

LIMITS = Limits(write_timeout=BOUND, close_timeout=0.2, max_events=None)
QUIET = Config(messages_per_second=None, silence=None, answer_timeout=None, ping_interval=None)

AUTHORITY = trustme.CA()

FLOODS = {
    "continuations": frame(CONTINUATION, b"", final=False),
    "pings": frame(PING, b""),
    "tiny messages": frame(TEXT, b"{}"),
}


class Turns:
    """Counts what links process in each turn."""

    def __init__(self) -> None:
        self.now = 0
        """The number of the turn."""
        self.bytes = Counter[int]()
        self.messages = Counter[int]()
        self.past_deadlines: list[tuple[int, int]] = []
        """The bytes and messages past each deadline, before timers fired."""

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        turns, received, fire = self, _driver.Driver.received, _driver.Driver.fire
        run_once = BlockingDriver.run_once

        class Watched(Arrivals):
            def __setattr__(self, name: str, value: Any) -> None:
                if name == "bytes" and value:
                    turns.bytes[turns.now] += value - self.bytes
                super().__setattr__(name, value)

        def counted(self: Any, number: int, message: str | bytes) -> None:
            turns.messages[turns.now] += 1
            received(self, number, message)

        def fired(self: Any, now: float) -> None:
            turns.past_deadlines.append((self.arrivals.bytes, self.arrivals.messages))
            fire(self, now)

        def next_turn(self: Any, deadline: float) -> None:
            turns.now += 1
            run_once(self, deadline)

        monkeypatch.setattr(_driver, "Arrivals", Watched)
        monkeypatch.setattr(_driver.Driver, "received", counted)
        monkeypatch.setattr(_driver.Driver, "fire", fired)
        monkeypatch.setattr(BlockingDriver, "run_once", next_turn)

    @asynccontextmanager
    async def ticking(self, flavour: Flavour) -> AsyncGenerator[None]:
        """Count the iterations of the event loop."""
        if flavour is Flavour.BLOCKING:
            self.now += 1
            yield
        elif flavour is Flavour.ANYIO_TRIO:
            instrument = _Passes(self)
            self.now += 1
            trio.lowlevel.add_instrument(instrument)
            try:
                yield
            finally:
                trio.lowlevel.remove_instrument(instrument)
        else:
            loop, over = asyncio.get_running_loop(), False

            def tick() -> None:
                self.now += 1
                if not over:
                    loop.call_soon(tick)

            tick()
            try:
                yield
            finally:
                over = True


class _Passes(trio.abc.Instrument):
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def after_io_wait(self, timeout: float) -> None:
        self._turns.now += 1


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    counted = Turns()
    counted.watch(monkeypatch)
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_processed_in_bounded_turns(flavour: Flavour, flood: str, turns: Turns) -> None:
    unit = FLOODS[flood]
    count = 50_000 if flood == "continuations" else 5_000

    def behave(victim: Victim) -> None:
        victim.reach(After.CANCEL)
        if flood == "continuations":
            victim.write(frame(TEXT, b"", final=False) + unit * count + frame(CONTINUATION, b""))
        else:
            victim.write(unit * count)
        victim.serve()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> None:
            async with (
                connect(KEY, url=server.url, config=QUIET, limits=LIMITS) as channel,
                turns.ticking(flavour),
            ):
                await channel.send('{"op":"trade"}')  # the flood begins
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run(scenario)
    del turns.bytes[0], turns.messages[0]  # before the turns were counted
    assert turns.bytes.total() >= len(unit) * count
    assert max(turns.bytes.values()) <= PARSER_BYTES
    assert max(turns.messages.values()) <= CORE_MESSAGES
    if flood == "tiny messages":
        assert turns.messages.total() >= count


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_deadline_ends_a_cancel_during_a_flood_without_end(
    flavour: Flavour, flood: str, turns: Turns
) -> None:
    with HostileServer(then_write_without_end(FLOODS[flood], After.CANCEL)) as server:

        async def scenario(connect: Connect) -> Any:
            config = Config(messages_per_second=None)
            limits = Limits(write_timeout=BOUND, close_timeout=0.2)
            async with connect(KEY, url=server.url, config=config, limits=limits) as channel:
                return await channel.cancel(orders(1)[0], timeout=0.3)

        if flood == "continuations":  # without a first fragment they end the connection
            server._behaviours = (endless_fragments,)
        outcome = flavour.run(scenario)
    assert isinstance(outcome, Unresolved)
    assert outcome.why is WhyUnresolved.TIMEOUT
    assert turns.past_deadlines
    for size, messages in turns.past_deadlines:
        assert size <= 2**16 + 2 * PARSER_BYTES or messages
        assert size <= 2**19 + 2 * PARSER_BYTES
        assert messages <= OVERDUE_MESSAGES


def endless_fragments(victim: Victim) -> None:
    victim.reach(After.CANCEL)
    victim.write(frame(TEXT, b"", final=False))
    while True:
        victim.write(FLOODS["continuations"] * 30_000)


def closes(victim: Victim) -> None:
    victim.frame(CLOSE, struct.pack("!H", 1001))
    victim.hold()


def breaks_the_protocol(victim: Victim) -> None:
    victim.write(b"\xff\x00")
    victim.hold()


COUNT = 5000
MESSAGES = [f'{{"number":{number}}}' for number in range(COUNT)]


def says_all_and_ends(end: Behaviour, written: threading.Event) -> Behaviour:
    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        for start in range(0, COUNT, 100):  # over TLS, each in a record of its own
            texts = MESSAGES[start : start + 100]
            victim.write(b"".join(frame(TEXT, text.encode()) for text in texts))
        written.set()
        end(victim)

    return behave


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("end", [Victim.end, closes, breaks_the_protocol])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_has_arrived_is_processed_before_the_end(
    flavour: Flavour, end: Behaviour, tls: bool
) -> None:
    theirs, ours = None, None
    if tls:
        theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        AUTHORITY.issue_cert("localhost").configure_cert(theirs)  # pyright: ignore[reportUnknownMemberType]
        AUTHORITY.configure_trust(ours)  # pyright: ignore[reportUnknownMemberType]
    written = threading.Event()
    with HostileServer(says_all_and_ends(end, written), tls=theirs) as server:

        async def scenario(connect: Connect) -> list[Any]:
            async with connect(
                KEY, url=server.url, config=QUIET, limits=LIMITS, tls=ours
            ) as channel:
                written.wait(1.0)
                time.sleep(0.05)  # the messages and the end have arrived
                return [event async for event in channel.events]

        *events, closed = flavour.run(scenario)
    assert isinstance(closed, Closed)
    assert [event.text for event in events] == MESSAGES


def only_link(channel: Any) -> Any:
    return next(iter(channel._driver._links.values()))


@pytest.mark.parametrize("flavour", ASYNCIO)
def test_what_was_read_is_processed_when_the_transport_fails(flavour: Flavour) -> None:
    kept: list[int] = []
    with HostileServer(says_all_and_ends(Victim.hold, threading.Event())) as server:

        async def scenario(connect: Connect) -> list[Any]:
            async with connect(KEY, url=server.url, config=QUIET, limits=LIMITS) as channel:
                link = only_link(channel)
                time.sleep(0.05)
                while len(link._unprocessed.parts) < 3:
                    await asyncio.sleep(0)
                kept.append(sum(map(len, link._unprocessed.parts)))
                link._transport.abort()
                # Nothing more can be sent, and the cancel says so.
                outcome = await channel.cancel(orders(1)[0])
                assert isinstance(outcome, Unresolved)
                assert not outcome.sent
                return [event async for event in channel.events]

        *events, closed = flavour.run(scenario)
    assert isinstance(closed, Closed)
    texts = [event.text for event in events]
    assert len(texts) >= kept[0] // 17 > CORE_MESSAGES
    assert texts == MESSAGES[: len(texts)]


@given(st.lists(st.integers(0, 3 * PARSER_BYTES), max_size=5))
def test_bytes_and_messages_keep_their_order(sizes: list[int]) -> None:
    """The parser yields a message for every ten bytes."""
    data = [bytes(size) for size in sizes]
    unprocessed = Unprocessed()
    for each in data:
        unprocessed.add(each)
    parsed = given_to_core = 0
    while unprocessed:
        part = unprocessed.next_part()
        assert len(part) <= PARSER_BYTES
        before = parsed // 10
        parsed += len(part)
        unprocessed.messages.extend(b"%d" % number for number in range(before, parsed // 10))
        messages = unprocessed.next_messages()
        assert len(messages) <= CORE_MESSAGES
        assert messages == [b"%d" % (given_to_core + place) for place in range(len(messages))]
        given_to_core += len(messages)
    assert (parsed, given_to_core) == (sum(sizes), sum(sizes) // 10)
