"""Eight processes that share one account, and what they have done. Also used by the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from bitget_proto import CancelOrder
from bitget_proto.testing import ScriptedExchange
from bitget_transports.exchange import exchange_in_thread

PROGRAM = Path(__file__).with_name("lease_process.py")
EACH = 10_000
"""The number of order ids that each process has for itself."""

Report: TypeAlias = dict[str, Any]


@attrs.frozen
class Result:
    """What the processes report: one entry for each."""

    reports: list[Report]

    @property
    def sent(self) -> list[float]:
        """When each cancel of any process left, in order."""
        return sorted(time for report in self.reports for time in report["sent"])

    @property
    def kinds(self) -> Counter[str]:
        """The number of outcomes of each class."""
        kinds = Counter[str]()
        for report in self.reports:
            kinds.update(report["kinds"])
        return kinds

    def busiest(self, seconds: float = 1.0) -> int:
        """Return the largest number sent within any such time."""
        times = self.sent
        first = most = 0
        for last, time in enumerate(times):
            while time - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def run_fleet(
    redis: str, limit: int, during: Callable[[], None], processes: int = 8, farther: float = 0.004
) -> Result:
    """Run the processes while `during` runs. Redis is `farther` seconds farther from the first."""
    exchange = ScriptedExchange(
        [
            CancelOrder("BTCUSDT", order_id=str(number * EACH + order))
            for number in range(processes)
            for order in range(1, 1000)
        ],
        cancels_per_second=limit,
    )
    with exchange_in_thread(exchange) as server:
        settings = {"exchange": server.url, "redis": redis, "limit": limit}
        fleet = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(PROGRAM),
                    json.dumps(
                        settings
                        | {"first": number * EACH + 1, "farther": 0.0 if number else farther}
                    ),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        try:
            for process in fleet:
                assert process.stdout is not None
                assert process.stdout.readline() == "up\n"
            during()
            for process in fleet:
                assert process.stdin is not None
                process.stdin.close()
            return Result([json.loads(_output(process)) for process in fleet])
        finally:
            for process in fleet:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


def _output(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    process.wait(30.0)
    return process.stdout.read()
