"""An answer that has arrived counts, however late its reader wakes up (driver contract, rule 4).

On every transport. A suspended laptop or a long pause of the garbage collector looks like this:
the whole process stops until after the deadlines.
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

from .colours import BOUND, KEY, Connect, Flavour, orders

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("flavour", Flavour)]


def answers_together(count: int, written: threading.Event) -> Behaviour:
    """Accept `count` cancels once all have arrived: first one, then each other in its own write."""

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


def outcomes_after_a_gap(flavour: Flavour, count: int, timeout: float, tls: bool) -> Counter[str]:
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

        return flavour.run(scenario)


def test_answers_that_arrived_before_their_deadlines_count(
    flavour: Flavour,
) -> None:
    # As many as may be in flight.
    assert outcomes_after_a_gap(flavour, 1000, 3.0, tls=False) == {"Accepted": 1000}


def test_answers_in_separate_tls_records_count(flavour: Flavour) -> None:
    if flavour not in (
        Flavour.UVLOOP,
        Flavour.PICOWS_UVLOOP,
        Flavour.ANYIO_ASYNCIO,
    ):  # the same code is tested on the other event loop
        assert outcomes_after_a_gap(flavour, 20, 1.0, tls=True) == {"Accepted": 20}
