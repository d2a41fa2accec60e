"""Eight processes share one account through a real Redis server, which is killed, frozen and flushed.

What left is judged by when it left, on the clock that the processes of a machine share. How many the
exchange refuses, and how much of the allowance is used, depends on how busy the machine is: the
benchmarks measure it.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bitget_transports import clock

from .lease_fleet import run_fleet
from .redis_server import redis_server

LEASE = 0.02

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("limit", [10, 60])
def test_all_processes_together_keep_the_limit(limit: int, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        result = run_fleet(server.url, limit, lambda: time.sleep(15.0))
    assert result.busiest() <= limit
    assert len(result.sent) > limit
    assert all(report["sent"] for report in result.reports), "each has its share"


@pytest.mark.parametrize("limit", [10, 60])
def test_the_limit_holds_while_the_store_is_flushed_frozen_killed_and_started_again(
    limit: int, tmp_path: Path
) -> None:
    killed, started = list[float](), list[float]()
    with redis_server(tmp_path) as server:

        def during() -> None:
            time.sleep(3.0)
            server.flush()
            time.sleep(3.0)
            server.freeze()
            time.sleep(1.0)
            server.thaw()
            time.sleep(2.0)
            server.kill()
            killed.append(clock())
            time.sleep(1.0)
            server.start()
            started.append(clock())
            time.sleep(5.0)

        result = run_fleet(server.url, limit, during)
    assert result.busiest() <= limit
    (down,), (up,) = killed, started
    assert not [time for time in result.sent if down + 2 * LEASE < time < up]
    assert any(time < down for time in result.sent)
    assert any(time > up for time in result.sent), "the store is used again"
    for report in result.reports:
        text = " ".join(report["log"])
        assert "no leases for account mine: ConnectionError" in text
        assert "leases for account mine again" in text
