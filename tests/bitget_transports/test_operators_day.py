"""An operator's day on every transport: the log at INFO and above tells the story in order, and the
metrics agree with the outcomes to the unit.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Credentials,
    Down,
    Final,
    LinkClosed,
    Outcome,
    SessionConfig,
    Unresolved,
    Up,
    WhyClosed,
)
from bitget_proto.testing import Fault
from bitget_transports import ChannelEvent, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.telemetry._labels import final_labels, outcome_labels

from . import proxies
from .colours import FAST, Flavour, OpenSession, fast_exchange, orders
from .test_proxies import NAME, URL, server_context, trusting
from .test_telemetry import World
from .tidy import nothing_left, tidy

KEY = Credentials("key-1A2B3C4D", "secret-4D5E6F", "passphrase-7G8H9I")
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
CONFIG = SessionConfig(link=FAST, backoff_min=0.05, backoff_max=0.1, steady_after=None)
UNKNOWN = CancelOrder("BTCUSDT", order_id="999")
SECRETS = re.compile(r"1A2B3C|4D5E6F|7G8H9I|word|[A-Za-z0-9+/]{43}=")

E = TypeVar("E")


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with nothing_left():
        yield


async def until(events: AsyncIterator[ChannelEvent], kind: type[E], **fields: Any) -> E:
    """Return the next event of this class whose fields have these values."""
    async for event in events:
        if isinstance(event, kind) and all(
            getattr(event, name) == value for name, value in fields.items()
        ):
            return event
    raise AssertionError(f"no {kind.__name__} came")


class Day:
    """What happened on one day."""

    def __init__(self) -> None:
        self.world = World()
        self.outcomes: list[Outcome] = []
        self.finals: list[Final] = []
        self.seen: list[Any] = []
        self.ahead = 0.0
        """Seconds by which this machine's clock is wrong."""

    def observe(self, event: Any, at: float) -> None:
        self.seen.append(event)
        self.world.observe(event, at)

    def wall_clock(self) -> float:
        return time.time() + self.ahead


def live(flavour: Flavour, proxied: list[proxies.Proxy]) -> Day:
    """Start behind a proxy, confirm, be refused, hit the limit, lose the link, lose the proxy, skew the clock,
    rotate, and stop.
    """
    day, mine = Day(), orders(8)
    exchange = fast_exchange(8, credentials=KEY, epoch=time.time())
    with exchange_in_thread(exchange, tls=server_context()) as server:
        to = int(server.url.rpartition(":")[2].partition("/")[0])
        proxied.append(proxies.Proxy(to, proxies.connect(user=("user", "word"))))
        url = f"http://user:word@127.0.0.1:{proxied[0].port}"

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=URL, tls=trusting(), proxy=url, config=CONFIG, limits=LIMITS,
                observe=day.observe, wall_clock=day.wall_clock, orders=True,
            ) as channel:  # fmt: skip
                events = aiter(channel.events)

                async def cancel(order: CancelOrder, **options: Any) -> None:
                    day.outcomes.append(await channel.cancel(order, **options))

                await cancel(mine[0])
                day.finals.append(await channel.confirm(day.outcomes[0]))
                await cancel(UNKNOWN, id="refused")
                server.inject(Fault.THROTTLE)
                await cancel(mine[1], id="limit", timeout=0.2)
                await until(events, Up, link=1)

                server.drop()
                await until(events, Up, link=2)
                await cancel(mine[2])
                day.finals.append(await channel.confirm(day.outcomes[-1]))
                await cancel(CancelOrder("BTCUSDT", client_oid="x"), id="no name")
                day.finals.append(await channel.confirm(day.outcomes[-1]))

                proxied[0].end()
                await until(events, Down, link=2)
                await until(events, LinkClosed, link=3)
                proxied.append(
                    proxies.Proxy(
                        to,
                        proxies.connect(user=("user", "word")),
                        listening_on=proxied[0].port,
                    )
                )
                await until(events, Up)
                await cancel(mine[3])

                day.ahead = 3600.0
                server.drop()
                await until(events, Up)
                await cancel(mine[4])

                server.inject(Fault.GOING_AWAY)
                await cancel(mine[5])
                await until(events, Up)
                await until(events, LinkClosed, why=WhyClosed.ASKED)
                await cancel(mine[6])
            await cancel(mine[7], id="too late")

        flavour.run_session(tidy(scenario))
    return day


def story(caplog: pytest.LogCaptureFixture, port: int) -> list[str]:
    """Return the log without numbers of links and times; what is repeated stands once."""
    lines: list[str] = []
    for record in caplog.records:
        if record.name == "bitget_transports" and record.levelno >= logging.INFO:
            line = f"{record.levelname} {record.getMessage()}".replace(f":{port}", ":PROXY")
            line = re.sub("36\\d\\d s|359\\d s", "3600 s", line)  # a Date is in whole seconds
            line = re.sub(r"link \d+", "link", re.sub(r"\d+\.\d s", "N s", line))
            lines.append(line)
            while len(lines) >= 4 and lines[-4:-2] == lines[-2:]:
                del lines[-2:]
    return lines


DIAL = f"INFO link: dialling {NAME}:443 through the proxy 127.0.0.1:PROXY"
UP = "INFO link: up after N s"
LOST = "WARNING link: closed, lost: the connection ended without a close frame"
DOWN = "WARNING down: link was up for N s (lost); cancels wait for the next one"
LEAVING = (
    "WARNING the exchange is about to close the connection: Service upgrade in progress. "
    "Connection reset imminent. Please reconnect."
)
SKEWED = "WARNING this machine's clock is 3600 s ahead of the exchange's"
NO_PROXY = (
    "WARNING link: closed, lost: no connection to the proxy 127.0.0.1:PROXY (Connection refused): "
    "check the URL of the proxy (proxy=, HTTPS_PROXY), and that it is running"
)


@pytest.mark.parametrize("flavour", Flavour)
def test_the_log_tells_the_day_and_the_metrics_agree(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxied: list[proxies.Proxy] = []
    try:
        day = live(flavour, proxied)
    finally:
        for proxy in proxied:
            proxy.end()
    told = story(caplog, proxied[0].port)
    expected = [
        DIAL,
        UP,
        "INFO cancel refused: rejected, code 43001, not found: The order does not exist",
        "WARNING the exchange reported an error: code 30006, throttled: request too many",
        "WARNING cancel limit: unresolved, sent, timeout",
        *(LOST, DOWN, DIAL, UP),
        "INFO cancel no name: rejected, code 43001, not found: The order does not exist",
        "WARNING cancel no name: nothing shows what became of the order, ambiguous id",
        *(LOST, DOWN, DIAL, NO_PROXY, DIAL, UP),
        *(LOST, DOWN, DIAL),
        SKEWED,
        "ERROR the exchange refused the login: code 30014, login: Timestamp expired",
        "WARNING link: closed, login refused: Timestamp expired",
        *(DIAL, SKEWED, UP),
        LEAVING,
        *(DIAL, SKEWED, "INFO link: up", "INFO link: closed, asked"),
        "INFO link: closed, asked",
        "INFO ended: asked",
        "WARNING cancel too late: unresolved, not sent, closed",
    ]
    assert told == expected

    labels = Counter(map(outcome_labels, day.outcomes))
    assert labels == {
        ("accepted", "", ""): 6,
        ("rejected", "not found", "43001"): 2,
        ("unresolved", "timeout", ""): 1,
        ("unsent", "closed", ""): 1,
    }
    seen = [each for each in day.seen if each in day.outcomes]
    assert seen == day.outcomes
    for (outcome, reason, code), count in labels.items():
        named = {"outcome": outcome, "reason": reason, "code": code}
        assert day.world.value("bitget_cancels_total", **named) == count
    assert day.world.metric("bitget.cancels") == labels
    finals = Counter(map(final_labels, day.finals))
    assert finals == {("cancelled", "", "push"): 2, ("unknown", "ambiguous id", ""): 1}
    assert [each for each in day.seen if each in day.finals] == day.finals
    assert day.world.metric("bitget.finals") == finals
    for (final, reason, evidence), count in finals.items():
        named = {"final": final, "reason": reason, "evidence": evidence}
        assert day.world.value("bitget_finals_total", **named) == count
    kinds: Counter[type] = Counter(map(type, day.seen))
    for kind, count in kinds.items():
        if kind in (Up, Down, LinkClosed):
            name = {Up: "up", Down: "down", LinkClosed: "link_closed"}[kind]
            total = sum(
                amount
                for (event, _, _), amount in day.world.metric("bitget.events").items()
                if event == name
            )
            assert total == count
    assert day.world.value("bitget_channel_up") == 0
    day.world.meters.shutdown()
    assert not [each for each in caplog.records if SECRETS.search(each.getMessage())]
    assert [type(each) for each in day.outcomes].count(Accepted) == 6
    assert [type(each) for each in day.outcomes].count(Unresolved) == 2
