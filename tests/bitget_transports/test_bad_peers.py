"""Peers that misbehave on an open channel, on every transport.

Each channel ends once, with a clear reason and in time, and every cancel has an outcome.
`test_rfc6455` plays every frame that breaks the protocol.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import nullcontext

import attrs
import pytest

from bitget_proto import Accepted, Closed, Config, Outcome, Unresolved, WhyClosed, WhyUnresolved
from bitget_transports import ChannelEvent, Dropped, Limits
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

from .colours import BOUND, FAST, KEY, Connect, Flavour, orders
from .tidy import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    nothing_left,
    then_write,
    then_write_without_end,
    tidy,
)

pytestmark = pytest.mark.parametrize("flavour", Flavour)

LIMITS = Limits(write_timeout=0.3, close_timeout=0.2)

ANYIO = (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


# For floods: on a busy machine they may take seconds to read, without any message.
PATIENT = attrs.evolve(FAST, silence=None, answer_timeout=None)


def to_the_end(
    flavour: Flavour, url: str, config: Config = FAST
) -> tuple[Outcome, list[ChannelEvent]]:
    """Return the outcome of one cancel, and all events until the end of the connection."""

    async def scenario(connect: Connect) -> tuple[Outcome, list[ChannelEvent]]:
        async with connect(KEY, url=url, config=config, limits=LIMITS) as channel:
            outcome = await channel.cancel(orders(1)[0])
            events = [event async for event in channel.events]
            assert (channel.in_flight, channel.capacity) == (0, 0)
            after = await channel.cancel(orders(2)[1])
            assert isinstance(after, Unresolved)
            assert not after.sent
        assert [event async for event in channel.events] == []
        return outcome, events

    return flavour.run(tidy(scenario))


@attrs.frozen
class Case:
    behaviour: Behaviour
    says: str


NO_CLOSE_FRAME = "the connection ended without a close frame$"
TOO_LONG = "the exchange sent a message longer than 1048576 bytes$"
BROKE_PROTOCOL = "the exchange broke the WebSocket protocol: "

FATAL_ERRORS = {
    "end of stream": Case(hostile_server.end_of_stream(), NO_CLOSE_FRAME),
    "end of stream, after the cancel": Case(hostile_server.end_of_stream(After.CANCEL), NO_CLOSE_FRAME),
    "reset": Case(hostile_server.reset(), NO_CLOSE_FRAME),
    "reset, after the cancel": Case(hostile_server.reset(After.CANCEL), NO_CLOSE_FRAME),
    "half a frame, then the end": Case(hostile_server.half_frame_then_end(), NO_CLOSE_FRAME),
    "closes": Case(hostile_server.close(1001, "maintenance"), "the exchange closed with code 1001, saying 'maintenance'"),
    "closes with a code of its own": Case(hostile_server.close(4000), "the exchange closed with code 4000$"),
    "closes, after the cancel": Case(hostile_server.close(1008, "a\nb", After.CANCEL), r"code 1008, saying 'a\\nb'$"),
    "closes and stays open": Case(hostile_server.close(1001, linger=True), "the exchange closed with code 1001$"),
    "closes without a code": Case(then_write(frame(CLOSE, b"")), "the exchange closed without a code"),
    "closes within a message": Case(
        then_write(frame(TEXT, b"half", final=False) + frame(CLOSE, struct.pack("!H", 1001))),
        f"{BROKE_PROTOCOL}|the exchange closed with code 1001",
    ),
    "reserved bits": Case(hostile_server.bad_frame(), BROKE_PROTOCOL),
    "30 MB in fragments": Case(hostile_server.huge_message(), TOO_LONG),
    "30 MB in one frame": Case(hostile_server.huge_message(fragment=0), TOO_LONG),
    "an endless message": Case(hostile_server.endless_message(), TOO_LONG),
    "an endless message, in tiny fragments": Case(
        then_write_without_end(frame(CONTINUATION, b"xy", final=False)), f"{BROKE_PROTOCOL}|{TOO_LONG}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FATAL_ERRORS.values(), ids=FATAL_ERRORS)
def test_a_bad_peer_ends_the_connection_with_one_clear_reason(flavour: Flavour, case: Case) -> None:
    with HostileServer(case.behaviour) as server:
        outcome, events = to_the_end(flavour, server.url)
    assert isinstance(outcome, Unresolved)
    assert outcome.why is WhyUnresolved.LOST
    assert [type(event) for event in events] == [Closed]
    closed = events[0]
    assert isinstance(closed, Closed)
    assert closed.why is WhyClosed.LOST
    assert re.search(case.says, closed.detail), closed.detail
    assert len(closed.detail) < 200


GOES_ON = {
    "silence": Case(hostile_server.silence(After.LOGIN), ""),
    "half a frame, then silence": Case(hostile_server.half_frame(), ""),
    "a flood of pushes": Case(hostile_server.flood(), ""),
    "a flood of empty fragments": Case(
        then_write(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 10_000),
        "",
    ),
}


@pytest.mark.parametrize("case", GOES_ON.values(), ids=GOES_ON)
def test_a_peer_that_answers_nothing_costs_only_the_timeouts(flavour: Flavour, case: Case) -> None:
    with HostileServer(case.behaviour) as server:

        async def scenario(connect: Connect) -> tuple[Outcome, list[ChannelEvent]]:
            limits = Limits(write_timeout=BOUND, close_timeout=0.2, max_events=10)
            async with connect(KEY, url=server.url, config=FAST, limits=limits) as channel:
                outcome = await channel.cancel(orders(1)[0], timeout=0.2)
            events = [event async for event in channel.events]
            assert channel.in_flight == 0
            return outcome, events

        outcome, events = flavour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.why, outcome.sent) == (WhyUnresolved.TIMEOUT, True)
    assert isinstance(events[-1], Closed)
    assert events[-1].why is WhyClosed.ASKED
    if len(events) > 1:
        assert isinstance(events[0], Dropped)
        assert len(events) == 11


ASIDE = {
    "a pong": frame(PONG, b"unsolicited"),
    "two megabytes of pongs": frame(PONG, b"x" * 125) * 16_000,
    "two megabytes of pings": frame(PING, b"x" * 125) * 16_000,
}


@pytest.mark.parametrize("aside", ASIDE.values(), ids=ASIDE)
def test_unsolicited_pongs_and_many_pings_do_not_end_the_connection(
    flavour: Flavour, aside: bytes
) -> None:
    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        victim.write(aside)
        victim.serve()

    with HostileServer(behave) as server:

        async def scenario(connect: Connect) -> None:
            limits = Limits(write_timeout=BOUND, close_timeout=0.2)
            async with connect(KEY, url=server.url, config=PATIENT, limits=limits) as channel:
                assert isinstance(await channel.cancel(orders(1)[0], timeout=BOUND), Accepted)

        flavour.run(tidy(scenario))


@pytest.mark.parametrize(
    "between", [frame(PING, b"x" * 125), frame(PONG, b"x" * 125)], ids=["pings", "pongs"]
)
def test_pings_between_fragments_do_not_lift_the_message_limit(
    flavour: Flavour, between: bytes
) -> None:
    fragments = (frame(CONTINUATION, b"x" * 1000, final=False) + between * 4) * 1300

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        victim.write(frame(TEXT, b"", final=False) + fragments)
        victim.hold()

    with HostileServer(behave) as server:
        outcome, events = to_the_end(flavour, server.url, PATIENT)
    assert isinstance(outcome, Unresolved)
    assert isinstance(events[-1], Closed)
    assert re.search(TOO_LONG, events[-1].detail), events[-1].detail


def test_a_ping_flood_from_a_peer_that_reads_nothing_does_not_block(flavour: Flavour) -> None:
    with HostileServer(then_write_without_end(frame(PING, b"still there?"))) as server:

        async def scenario(connect: Connect) -> Outcome:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                return await channel.cancel(orders(1)[0], timeout=0.2)

        assert isinstance(flavour.run(tidy(scenario)), Unresolved)


@pytest.mark.parametrize("left_by", [None, ZeroDivisionError])
def test_a_peer_that_stops_reading_does_not_block_close(
    flavour: Flavour, left_by: type[Exception] | None
) -> None:
    with HostileServer(hostile_server.stop_reading()) as server:

        async def scenario(connect: Connect) -> None:
            # Without a write timeout, only leaving the channel ends it.
            limits = Limits(write_timeout=None, close_timeout=0.2)
            config = Config(messages_per_second=None, drain_timeout=0.1)
            async with connect(KEY, url=server.url, config=config, limits=limits) as channel:
                for _ in range(20):
                    await channel.send("x" * 1_000_000)
                outcome = await channel.cancel(orders(1)[0], timeout=0.1)
                assert isinstance(outcome, Unresolved)
                if left_by is not None:
                    raise left_by

        with nullcontext() if left_by is None else pytest.raises(left_by):
            flavour.run(tidy(scenario))


def test_a_peer_that_stops_reading_is_dropped_after_the_write_timeout(
    flavour: Flavour,
) -> None:
    with HostileServer(hostile_server.stop_reading()) as server:

        async def scenario(connect: Connect) -> tuple[list[Outcome], list[ChannelEvent]]:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                for _ in range(20):
                    await channel.send("x" * 1_000_000)
                # Whether or not this cancel is sent, the frames fill every buffer meanwhile.
                assert isinstance(await channel.cancel(orders(51)[50], timeout=0.15), Unresolved)
                outcomes = [outcome async for outcome in channel.cancel_many(orders(50))]
                return outcomes, [event async for event in channel.events]

        outcomes, events = flavour.run(tidy(scenario))
    assert [type(event) for event in events] == [Closed]
    assert isinstance(events[0], Closed)
    assert "read nothing for 0.3 s" in events[0].detail
    assert len(outcomes) == 50
    assert {(type(outcome), getattr(outcome, "sent", None)) for outcome in outcomes} == {
        (Unresolved, False)
    }


def test_an_unanswered_close_frame_does_not_block_close(flavour: Flavour) -> None:
    with HostileServer(hostile_server.silence(After.LOGIN)) as server:

        async def scenario(connect: Connect) -> list[ChannelEvent]:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                pass
            return [event async for event in channel.events]

        assert [type(event) for event in flavour.run(tidy(scenario))] == [Closed]
