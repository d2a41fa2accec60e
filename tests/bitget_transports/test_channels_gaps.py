"""A gap, on every colour: an answer that has arrived counts, however late its reader wakes up (the driver contract, rule 4).

A suspended laptop and a long pause of the garbage collector look like this: the whole process stands still past the deadlines.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from typing import Any

import pytest
import trustme

from bitget_proto import Config
from bitget_transports import Limits
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

from .colours import ASYNCIO, BOUND, KEY, Colour, Connect, orders

pytestmark = pytest.mark.parametrize("colour", Colour)


def answers_together(count: int, written: threading.Event) -> Behaviour:
    """Accept so many cancels when all of them are there: one by itself, then the others, each in a write of its own."""

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        answers: list[str] = []
        while len(answers) < count:
            cancel = json.loads(victim.read_until('"trade"'))
            answers.append(
                json.dumps({"event": "trade", "arg": cancel["args"], "code": 0, "msg": "Success"})
            )
        victim.say(answers[0])
        for answer in answers[1:]:
            victim.say(answer)
        written.set()
        victim.hold()

    return behave


def outcomes_after_a_gap(colour: Colour, count: int, timeout: float, tls: bool) -> Counter[str]:
    theirs, options, written = None, dict[str, Any](), threading.Event()
    if tls:
        authority = trustme.CA()
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(theirs)  # pyright: ignore[reportUnknownMemberType]
        options["tls"] = ssl.create_default_context()
        authority.configure_trust(options["tls"])  # pyright: ignore[reportUnknownMemberType]
    with HostileServer(answers_together(count, written), tls=theirs) as server:

        async def scenario(connect: Connect) -> Counter[str]:
            found = Counter[str]()
            config = Config(messages_per_second=None)
            limits = Limits(close_timeout=0.1)
            async with connect(
                KEY, url=server.url, config=config, limits=limits, **options
            ) as channel:
                async for outcome in channel.cancel_many(orders(count), timeout=timeout):
                    if not found:
                        assert written.wait(BOUND)  # the other answers are in the socket's buffer
                        time.sleep(timeout)
                    found[type(outcome).__name__] += 1
            return found

        return colour.run(scenario)


def test_several_hundred_answers_that_have_arrived_when_the_deadlines_pass_count(
    colour: Colour,
) -> None:
    assert outcomes_after_a_gap(colour, 400, 2.0, tls=False) == {"Accepted": 400}


def test_over_tls_they_count_though_each_is_a_record_of_its_own(colour: Colour) -> None:
    if colour not in (
        Colour.UVLOOP,
        Colour.PICOWS_UVLOOP,
        Colour.ANYIO_ASYNCIO,
    ):  # whose like is here
        assert outcomes_after_a_gap(colour, 20, 1.0, tls=True) == {"Accepted": 20}


def test_they_count_though_a_read_takes_so_long_that_others_have_their_turn(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour in ASYNCIO:  # which read all that is there, by and by
        framing = "picows" if colour in (Colour.PICOWS, Colour.PICOWS_UVLOOP) else "websockets"
        monkeypatch.setattr(f"bitget_transports.asyncio._{framing}_link.LONG", 0.0)
        assert outcomes_after_a_gap(colour, 800, 3.0, tls=False) == {"Accepted": 800}
