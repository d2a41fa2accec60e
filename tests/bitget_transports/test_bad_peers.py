"""Peers that turn bad on an open channel, on every colour: each ends in one clear end, in time, with every outcome settled.

Real sockets, on loopback: each wait is bounded.
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

from .colours import BOUND, FAST, KEY, Colour, Connect, orders
from .tidy import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    masked,
    nothing_left,
    then_write,
    then_write_without_end,
    tidy,
)

pytestmark = pytest.mark.parametrize("colour", Colour)

LIMITS = Limits(write_timeout=0.3, close_timeout=0.2)

ANYIO = (Colour.ANYIO_ASYNCIO, Colour.ANYIO_TRIO)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


# With it a flood may take seconds to read on a busy machine, in which no message comes.
PATIENT = attrs.evolve(FAST, silence=None, answer_timeout=None)


def to_the_end(
    colour: Colour, url: str, config: Config = FAST
) -> tuple[Outcome, list[ChannelEvent]]:
    """The outcome of one cancel, and all that came beside it until the connection had ended."""

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

    return colour.run(tidy(scenario))


@attrs.frozen
class Case:
    behaviour: Behaviour
    says: str


CLOSED_OR_BROKE = "the connection (ended without a close frame|broke: )"
BROKE_PROTOCOL = "the exchange broke the WebSocket protocol: "

ENDS = {
    "end of stream": Case(hostile_server.end_of_stream(), CLOSED_OR_BROKE),
    "end of stream, the cancel taken": Case(hostile_server.end_of_stream(After.CANCEL), CLOSED_OR_BROKE),
    "reset": Case(hostile_server.reset(), CLOSED_OR_BROKE),
    "reset, the cancel taken": Case(hostile_server.reset(After.CANCEL), CLOSED_OR_BROKE),
    "half a frame, then the end": Case(hostile_server.half_frame_then_end(), CLOSED_OR_BROKE),
    "closes": Case(hostile_server.close(1001, "maintenance"), "the exchange closed with code 1001, saying 'maintenance'"),
    "closes with a code of its own": Case(hostile_server.close(4000), "the exchange closed with code 4000$"),
    "closes, the cancel taken": Case(hostile_server.close(1008, "a\nb", After.CANCEL), r"code 1008, saying 'a\\nb'$"),
    "closes and stays": Case(hostile_server.close(1001, linger=True), "the exchange closed with code 1001$"),
    "closes without a code": Case(then_write(frame(CLOSE, b"")), "the exchange closed without a code"),
    "closes with half a code": Case(then_write(frame(CLOSE, b"\x03")), BROKE_PROTOCOL),
    "closes with no legal code": Case(hostile_server.close(999), BROKE_PROTOCOL),
    "closes with no legal reason": Case(then_write(frame(CLOSE, b"\x03\xe8\xff")), BROKE_PROTOCOL),
    "closes within a message": Case(
        then_write(frame(TEXT, b"half", final=False) + frame(CLOSE, struct.pack("!H", 1001))),
        f"{BROKE_PROTOCOL}|the exchange closed with code 1001",
    ),
    "reserved bits": Case(hostile_server.bad_frame(), BROKE_PROTOCOL),
    "a masked frame": Case(then_write(masked(TEXT, b"pong")), BROKE_PROTOCOL),
    "a continuation of nothing": Case(then_write(frame(CONTINUATION, b"more")), BROKE_PROTOCOL),
    "a message within a message": Case(then_write(frame(TEXT, b"{", final=False) + frame(TEXT, b"{}")), BROKE_PROTOCOL),
    "a ping in fragments": Case(then_write(frame(PING, b"", final=False)), BROKE_PROTOCOL),
    "a ping that is too long": Case(then_write(frame(PING, b"x" * 126)), BROKE_PROTOCOL),
    "30 MB in fragments": Case(hostile_server.huge_message(), "longer than|too big|exceeds"),
    "30 MB in one frame": Case(hostile_server.huge_message(fragment=0), "longer than|too big|exceeds"),
    "a message without end": Case(hostile_server.endless_message(), "longer than|too big|exceeds"),
    "a message without end, in tiny fragments": Case(
        then_write_without_end(frame(CONTINUATION, b"xy", final=False)), f"{BROKE_PROTOCOL}|longer than|too big|exceeds"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS)
def test_a_bad_peer_is_one_clear_end(colour: Colour, case: Case) -> None:
    with HostileServer(case.behaviour) as server:
        outcome, events = to_the_end(colour, server.url)
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
def test_a_peer_that_answers_nothing_costs_the_timeouts_and_no_more(
    colour: Colour, case: Case
) -> None:
    with HostileServer(case.behaviour) as server:

        async def scenario(connect: Connect) -> tuple[Outcome, list[ChannelEvent]]:
            limits = Limits(write_timeout=BOUND, close_timeout=0.2, max_events=10)
            async with connect(KEY, url=server.url, config=FAST, limits=limits) as channel:
                outcome = await channel.cancel(orders(1)[0], timeout=0.2)
            events = [event async for event in channel.events]
            assert channel.in_flight == 0
            return outcome, events

        outcome, events = colour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.why, outcome.sent) == (WhyUnresolved.TIMEOUT, True)
    assert isinstance(events[-1], Closed)
    assert events[-1].why is WhyClosed.ASKED
    if len(events) > 1:
        assert isinstance(events[0], Dropped)
        assert len(events) == 11


ASIDE = {
    "a pong": frame(PONG, b"nobody asked"),
    "two megabytes of pongs": frame(PONG, b"x" * 125) * 16_000,
    "two megabytes of pings": frame(PING, b"x" * 125) * 16_000,
}


@pytest.mark.parametrize("aside", ASIDE.values(), ids=ASIDE)
def test_pongs_that_nobody_asked_for_and_any_number_of_pings_are_no_message_and_no_end(
    colour: Colour, aside: bytes
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

        colour.run(tidy(scenario))


@pytest.mark.parametrize(
    "between", [frame(PING, b"x" * 125), frame(PONG, b"x" * 125)], ids=["pings", "pongs"]
)
def test_pings_and_pongs_between_its_fragments_do_not_let_a_message_grow_without_end(
    colour: Colour, between: bytes
) -> None:
    fragments = (frame(CONTINUATION, b"x" * 1000, final=False) + between * 4) * 1300

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        victim.write(frame(TEXT, b"", final=False) + fragments)
        victim.hold()

    with HostileServer(behave) as server:
        outcome, events = to_the_end(colour, server.url, PATIENT)
    assert isinstance(outcome, Unresolved)
    assert isinstance(events[-1], Closed)
    assert re.search("longer than|too big|exceeds", events[-1].detail), events[-1].detail


def test_text_that_is_no_utf8_is_nothing_or_one_end(colour: Colour) -> None:
    with HostileServer(hostile_server.no_utf8()) as server:

        async def scenario(connect: Connect) -> tuple[Outcome, list[ChannelEvent]]:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                outcome = await channel.cancel(orders(1)[0], timeout=0.2)
            return outcome, [event async for event in channel.events]

        outcome, events = colour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert [isinstance(event, Closed) for event in events].count(True) == 1
    assert isinstance(events[-1], Closed)


def test_a_flood_of_pings_from_one_who_reads_no_pongs_does_not_hold_us(colour: Colour) -> None:
    with HostileServer(then_write_without_end(frame(PING, b"still there?"))) as server:

        async def scenario(connect: Connect) -> Outcome:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                return await channel.cancel(orders(1)[0], timeout=0.2)

        assert isinstance(colour.run(tidy(scenario)), Unresolved)


@pytest.mark.parametrize("left_by", [None, ZeroDivisionError])
def test_one_who_stops_reading_cannot_hold_us(
    colour: Colour, left_by: type[Exception] | None
) -> None:
    with HostileServer(hostile_server.stop_reading()) as server:

        async def scenario(connect: Connect) -> None:
            # Without a write timeout: only leaving ends it.
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
            colour.run(tidy(scenario))


def test_one_who_takes_nothing_is_given_up_and_what_did_not_leave_was_not_sent(
    colour: Colour,
) -> None:
    with HostileServer(hostile_server.stop_reading()) as server:

        async def scenario(connect: Connect) -> tuple[list[Outcome], list[ChannelEvent]]:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                for _ in range(20):
                    await channel.send("x" * 1_000_000)
                # It leaves before the frames do, or never: meanwhile they fill every buffer.
                assert isinstance(await channel.cancel(orders(51)[50], timeout=0.15), Unresolved)
                outcomes = [outcome async for outcome in channel.cancel_many(orders(50))]
                return outcomes, [event async for event in channel.events]

        outcomes, events = colour.run(tidy(scenario))
    assert [type(event) for event in events] == [Closed]
    assert isinstance(events[0], Closed)
    assert "read nothing for 0.3 s" in events[0].detail
    assert len(outcomes) == 50
    assert {(type(outcome), getattr(outcome, "sent", None)) for outcome in outcomes} == {
        (Unresolved, False)
    }


def test_one_who_never_answers_the_close_frame_is_left_in_time(colour: Colour) -> None:
    with HostileServer(hostile_server.silence(After.LOGIN)) as server:

        async def scenario(connect: Connect) -> list[ChannelEvent]:
            async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
                pass
            return [event async for event in channel.events]

        assert [type(event) for event in colour.run(tidy(scenario))] == [Closed]
