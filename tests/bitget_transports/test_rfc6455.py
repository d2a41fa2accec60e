"""The handshake and the frames, judged by RFC 6455: each row of `rfc6455` on every transport."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue

import pytest

from bitget_proto import Accepted, Closed, Outcome, Unrecognised
from bitget_proto.testing import framing
from bitget_transports import ChannelEvent, ConnectFailed, Limits
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import BOUND, FAST, KEY, Connect, Flavour, orders
from .rfc6455 import (
    ACCEPT,
    ANYIO,
    CONTINUE,
    FRAMES,
    HANDSHAKE,
    HINTS,
    PAGE,
    PICOWS,
    RIGHT,
    WEBSOCKETS,
    Row,
    page,
)
from .tidy import CLOSE, TEXT, frame, nothing_left, tidy, upgraded

LIMITS = Limits(close_timeout=0.2)

NO_CODE = 1005

BELOW = {
    Flavour.ASYNCIO: WEBSOCKETS,
    Flavour.UVLOOP: WEBSOCKETS,
    Flavour.PICOWS: PICOWS,
    Flavour.PICOWS_UVLOOP: PICOWS,
    Flavour.ANYIO_ASYNCIO: ANYIO,
    Flavour.ANYIO_TRIO: ANYIO,
    Flavour.BLOCKING: WEBSOCKETS,
}

on_every_transport = pytest.mark.parametrize("flavour", Flavour)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def expected(row: Row, flavour: Flavour) -> tuple[str | None, int | None]:
    return row.differs.get(BELOW[flavour], (row.refused, row.closes))


def accept_of(head: bytes) -> bytes:
    return upgraded(head).partition(b"Accept: ")[2].partition(b"\r")[0]


def write(victim: Victim, data: bytes, pieces: int) -> None:
    """Write so many bytes at a time, or all at once for 0, while the client reads."""
    with suppress(OSError):
        for start in range(0, len(data), pieces or len(data)):
            victim.write(data[start : start + (pieces or len(data))])


def close_code(victim: Victim) -> int | None:
    """Return the code of the client's close frame; None when the stream ends without one."""
    victim._socket.settimeout(BOUND)
    seen = b""
    while True:
        while (parsed := framing.parse(seen)) is None:
            try:
                data = victim._socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            seen += data
        found, taken = parsed
        seen = seen[taken:]
        if found.opcode == CLOSE:
            return int.from_bytes(found.data[:2], "big") if found.data else NO_CODE


@on_every_transport
@pytest.mark.parametrize("row", HANDSHAKE, ids=lambda row: row.name)
def test_an_answer_to_the_handshake_is_judged_alike(flavour: Flavour, row: Row) -> None:
    sent: SimpleQueue[int | None] = SimpleQueue()

    def behave(victim: Victim) -> None:
        data = row.peer.replace(ACCEPT, accept_of(victim.read_head()))
        if expected(row, flavour)[0] is not None:
            # A message that arrives with a refused answer is not read.
            write(victim, data + frame(TEXT, b'{"event":"login","code":0}'), row.pieces)
            sent.put(close_code(victim))
            return
        write(victim, data, row.pieces)
        victim.read_until('"login"')
        victim.say('{"event":"login","code":0}')
        victim.serve()

    async def scenario(connect: Connect) -> Outcome:
        async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
            return await channel.cancel(orders(1)[0])

    refused, closes = expected(row, flavour)
    with HostileServer(behave) as server:
        if refused is None:
            assert isinstance(flavour.run(tidy(scenario)), Accepted)
        else:
            with pytest.raises(ConnectFailed) as caught:
                flavour.run(tidy(scenario))
            assert refused in str(caught.value)
            assert sent.get(timeout=BOUND) == closes


BEFORE, AFTER = '{"event":"before"}', '{"event":"after"}'


@on_every_transport
@pytest.mark.parametrize("row", FRAMES, ids=lambda row: row.name)
def test_frames_are_judged_alike(flavour: Flavour, row: Row) -> None:
    """A message before an invalid frame reaches the core, even in the same read; none after it
    does.
    """
    sent: SimpleQueue[int | None] = SimpleQueue()

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        data = frame(TEXT, BEFORE.encode()) + row.peer + frame(TEXT, AFTER.encode())
        write(victim, data, row.pieces)
        if row.refused is None:
            victim.serve()
        else:
            sent.put(close_code(victim))

    async def scenario(connect: Connect) -> tuple[Outcome | None, list[ChannelEvent]]:
        async with connect(KEY, url=server.url, config=FAST, limits=LIMITS) as channel:
            outcome = await channel.cancel(orders(1)[0]) if row.refused is None else None
            if row.refused is not None:
                return None, [event async for event in channel.events]
        return outcome, [event async for event in channel.events]

    refused, closes = expected(row, flavour)
    with HostileServer(behave) as server:
        outcome, events = flavour.run(tidy(scenario))
        if refused is not None:
            assert sent.get(timeout=BOUND) == closes
    texts = [event.text for event in events if isinstance(event, Unrecognised)]
    last = events[-1]
    assert isinstance(last, Closed)
    if refused is None:
        assert isinstance(outcome, Accepted)
        assert texts == [BEFORE, *row.messages, AFTER]
    else:
        assert texts == [BEFORE]
        assert last.detail.endswith(refused)


@on_every_transport
@pytest.mark.parametrize("interim", [CONTINUE, HINTS], ids=["100", "103"])
def test_interim_answers_without_end_are_bounded_by_the_timeout(
    flavour: Flavour, interim: bytes
) -> None:
    def behave(victim: Victim) -> None:
        victim.read_head()
        while True:
            victim.write(interim * 100)

    async def scenario(connect: Connect) -> None:
        limits = Limits(open_timeout=0.3, close_timeout=0.2)
        async with connect(KEY, url=server.url, config=FAST, limits=limits):
            raise AssertionError("a channel was opened")

    with HostileServer(behave) as server, pytest.raises(ConnectFailed) as caught:
        flavour.run(tidy(scenario))
    below = BELOW[flavour]
    assert ("picows" if below == PICOWS else "within 0.3 s") in str(caught.value)


def test_the_tables_of_the_page_are_those_of_the_tests() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "docs/websocket.md differs from the tests"


def test_each_row_has_a_name_of_its_own_and_a_difference_has_a_note() -> None:
    for rows in (HANDSHAKE, FRAMES):
        assert len({row.name for row in rows}) == len(rows)
        for row in rows:
            assert bool(row.differs) == bool(row.note)
            assert row.refused is None or row.refused
    assert RIGHT in {row.peer for row in HANDSHAKE}
