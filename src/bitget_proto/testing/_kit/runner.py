"""Plays the scenarios of the conformance kit with a driver and reports the broken rules.

Breaks are reported with the probable cause first: what the connection observed, then differences
between what one end sent and the other received, then what the scenario missed, then what was left
behind. Scenarios run in real time and are not retried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

from ..._values.errors import ValidationError, safe_repr
from .harness import MakeDriver, NotPlayed, Stage
from .invariants import differences, false_reports, left_behind, unwritten
from .report import Break, Report, Result
from .scenario import Scenario
from .scenarios_end import END
from .scenarios_reading import READING
from .scenarios_time import TIME
from .scenarios_writing import WRITING
from .strict_connection import DriverError, Rule
from .websocket_peer import Gone, Silence

SCENARIOS: Final[tuple[Scenario, ...]] = READING + TIME + WRITING + END
"""All scenarios, in the order in which they are played."""

PATIENCE: Final = 2.0
"""Default number of seconds by which anything may be late."""


def check_driver(
    make_driver: MakeDriver,
    scenarios: Iterable[str] | None = None,
    *,
    patience: float = PATIENCE,
    tell: Callable[[Result], object] | None = None,
) -> Report:
    """Play scenarios with a driver, and report which rules of the driver contract it broke.

    `make_driver(connection, url)` returns a driver: an object with `run()`, which dials the URL and
    blocks until the connection is `Closed`, and a thread-safe `call(fn)`, which runs
    `fn(connection, now)` in the thread of `run` and then drains. Both `make_driver` and `run` are
    called in a new thread for each scenario. The driver may sign the login with any credentials:
    every login is accepted. A driver whose users wait for outcomes may also have `abandon(order)`,
    which starts such a wait and cancels it.

    `scenarios` are the names of the scenarios to play; by default all of them. `patience` is how
    many seconds anything may be late; a driver that keeps the contract never waits that long.
    `tell` is called with each result as soon as it is available.

    If the first scenario is broken, the others are not played: they need a login and a cancel.

    Raises: ValidationError for an unknown scenario name.
    """
    chosen = tuple(named(name) for name in scenarios) if scenarios is not None else SCENARIOS
    results: list[Result] = []
    for scenario in chosen:
        if results and results[0].scenario is SCENARIOS[0] and results[0].breaks:
            results.append(Result(scenario=scenario, not_played=f'"{SCENARIOS[0].name}" is broken'))
        else:
            results.append(play(scenario, make_driver, patience=patience))
        if tell is not None:
            tell(results[-1])
    return Report(results)


def play(scenario: Scenario, make_driver: MakeDriver, *, patience: float = PATIENCE) -> Result:
    """Play one scenario with a driver and return its result."""
    begun, threads = time.monotonic(), set(threading.enumerate())
    stage = Stage(make_driver, scenario.config, patience, narrow=scenario.narrow)
    seen: list[DriverError] = []
    with stage.peer:
        missed: DriverError | None = None
        not_played = ""
        try:
            scenario.play(stage)
        except (Gone, Silence) as error:
            missed = stage.blame(Rule.END, f"the connection did not last ({error})")
        except DriverError as error:
            missed = error
        except NotPlayed as why:
            not_played = str(why)
        noticed = len(stage.connection.complaints)
        seen += stage.connection.complaints
        seen += unwritten(stage) if missed is None else ()
        stage.peer.finish()
        returned = stage.returned(patience)
        seen += differences(stage)
        seen += [] if missed is None else [missed]
        seen += false_reports(stage)
        seen += stage.connection.complaints[noticed:]
        seen += left_behind(stage, threads, returned=returned)
    breaks = dict.fromkeys(Break(error.rule, error.what) for error in seen)
    return Result(
        scenario=scenario,
        breaks=tuple(breaks),
        steps=tuple(stage.connection.steps),
        seconds=time.monotonic() - begun,
        not_played=not_played,
    )


def named(name: str) -> Scenario:
    """Return the scenario with this name.

    Raises: ValidationError when there is none.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    like = get_close_matches(name, [scenario.name for scenario in SCENARIOS], n=1)
    hint = f": did you mean {like[0]!r}?" if like else ""
    raise ValidationError(
        f"scenario must be one that python -m bitget_proto.testing --list names; got {safe_repr(name)}{hint}"
    )
