"""Plays the scenarios of the conformance kit with a driver and reports the broken rules.

Breaks are reported with the probable cause first: what the connection observed, then differences
between what one end sent and the other received, then what the scenario missed, then what was left
behind. Scenarios run in real time. A broken rule is never retried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from difflib import get_close_matches
from functools import partial
from typing import Final

import attrs

from ..._values.errors import ValidationError, safe_repr
from ..._wire.codec import Codec
from .driver_checks import DriverError, Rule
from .driver_thread import MakeDriver, MakeSessionDriver
from .harness import NotPlayed, NotReached, Stage
from .invariants import OTHER_THREAD, differences, false_reports, left_behind, unasked, unwritten
from .recording import DriverStep
from .recording_connection import Recorder
from .recording_session import SessionRecorder
from .report import Break, Report, Result
from .scenario import Scenario
from .scenarios_dials import DIALS
from .scenarios_end import END
from .scenarios_gaps import GAPS
from .scenarios_links import LINKS
from .scenarios_reading import READING
from .scenarios_time import TIME
from .scenarios_writing import WRITING
from .websocket_peer import Gone, Silence

SCENARIOS: Final[tuple[Scenario, ...]] = READING + GAPS + TIME + WRITING + END
"""All scenarios for drivers of a connection, in the order in which they are played."""

OF_SESSIONS: Final = LINKS + DIALS
"""The scenarios for drivers of a session only."""

SESSION_SCENARIOS: Final = SCENARIOS + OF_SESSIONS
"""All scenarios for drivers of a session."""

PATIENCE: Final = 2.0
"""Default number of seconds by which anything may be late."""

ATTEMPTS: Final = 3
"""How many times a scenario is played at most, if it does not reach its situation."""


def check_driver(
    make_driver: MakeDriver,
    scenarios: Iterable[str] | None = None,
    *,
    patience: float = PATIENCE,
    tell: Callable[[Result], object] | None = None,
    main_thread: bool = False,
) -> Report:
    """Play scenarios with a driver, and report which rules of the driver contract it broke.

    `make_driver(connection, url)` returns a driver: an object with `run()`, which dials the URL and
    blocks until the connection is `Closed`, and a thread-safe `call(fn)`, which runs
    `fn(connection, now)` in the thread of `run` and then drains. Both `make_driver` and `run` are
    called in a new thread for each scenario, and the driver is freed in that thread. The driver may
    sign the login with any credentials: every login is accepted. A driver whose users wait for
    outcomes may also have `abandon(order)`, which starts such a wait and cancels it.

    `scenarios` are the names of the scenarios to play; by default all of them. `patience` is how
    many seconds anything may be late; with a driver that keeps the contract, no scenario waits that
    long. `tell` is called with each result as soon as it is available.

    With `main_thread=True` the driver is made, run and freed in the main thread, as Tk and Qt
    require: call `check_driver` there. A driver that does not return is then interrupted, as if by
    Ctrl-C.

    If the first scenario is broken, the others are not played: they need a login and a cancel.

    Raises: ValidationError for an unknown scenario name, and for `main_thread` in another thread.
    """
    check_thread(main_thread=main_thread)
    chosen = SCENARIOS if scenarios is None else [named(name) for name in scenarios]

    def one(scenario: Scenario) -> Result:
        return play(scenario, make_driver, patience=patience, main_thread=main_thread)

    return _play_all(chosen, one, tell)


def check_session_driver(
    make_session_driver: MakeSessionDriver,
    scenarios: Iterable[str] | None = None,
    *,
    patience: float = PATIENCE,
    tell: Callable[[Result], object] | None = None,
    main_thread: bool = False,
) -> Report:
    """Play scenarios with a driver of a `Session`, and report which rules it broke.

    `make_session_driver(session, url)` returns a driver: an object with `run()`, which drains the
    session, dials the URL for each `Dial`, and blocks until the session is `Ended`, and a
    thread-safe `call(fn)`, which runs `fn(session, now)` in the thread of `run` and then drains.

    The scenarios of `check_driver` are played with the links of the session, then others with
    several links. Everything else is as for `check_driver`.

    Raises: the same as `check_driver`.
    """
    check_thread(main_thread=main_thread)
    chosen = (
        SESSION_SCENARIOS
        if scenarios is None
        else [named(name, SESSION_SCENARIOS) for name in scenarios]
    )

    def one(scenario: Scenario) -> Result:
        return play_session(
            scenario, make_session_driver, patience=patience, main_thread=main_thread
        )

    return _play_all(chosen, one, tell)


def _play_all(
    scenarios: Iterable[Scenario],
    play: Callable[[Scenario], Result],
    tell: Callable[[Result], object] | None,
) -> Report:
    results: list[Result] = []
    for scenario in scenarios:
        if results and results[0].scenario is SCENARIOS[0] and results[0].breaks:
            results.append(Result(scenario=scenario, not_played=f'"{SCENARIOS[0].name}" is broken'))
        else:
            results.append(play(scenario))
        if tell is not None:
            tell(results[-1])
    return Report(results)


def play(
    scenario: Scenario,
    make_driver: MakeDriver,
    *,
    patience: float = PATIENCE,
    main_thread: bool = False,
) -> Result:
    """Play one scenario with a driver of a connection and return its result."""

    def make_stage(attempt: int) -> Stage:
        core = Recorder(scenario.config, Codec(dialect=scenario.dialect))
        make = partial(make_driver, core)
        return Stage(core, make, patience, narrow=scenario.narrow, attempt=attempt)

    return _play(scenario, make_stage, main_thread=main_thread)


def play_session(
    scenario: Scenario,
    make_session_driver: MakeSessionDriver,
    *,
    patience: float = PATIENCE,
    main_thread: bool = False,
) -> Result:
    """Play one scenario with a driver of a session and return its result."""

    def make_stage(attempt: int) -> Stage:
        core = SessionRecorder(
            attrs.evolve(scenario.session, link=scenario.config), Codec(dialect=scenario.dialect)
        )
        make = partial(make_session_driver, core)
        return Stage(core, make, patience, narrow=scenario.narrow, attempt=attempt)

    return _play(scenario, make_stage, main_thread=main_thread)


def _play(scenario: Scenario, make_stage: Callable[[int], Stage], *, main_thread: bool) -> Result:
    """Play one scenario with a driver and return its result.

    A scenario that does not reach its situation is played again with longer times. After the last
    attempt, it counts as not played.
    """
    begun = time.monotonic()
    why, steps = "", tuple[DriverStep, ...]()
    for attempt in range(ATTEMPTS):
        stage = make_stage(attempt)
        try:
            result = _on_two_threads(scenario, stage, main_thread=main_thread)
        except NotReached as error:
            why, steps = str(error), tuple(stage.core.steps)
        else:
            return attrs.evolve(result, seconds=time.monotonic() - begun)
    return Result(
        scenario=scenario,
        steps=steps,
        seconds=time.monotonic() - begun,
        not_played=f"its situation did not arise in {ATTEMPTS} attempts: {why}",
    )


def _on_two_threads(scenario: Scenario, stage: Stage, *, main_thread: bool) -> Result:
    """Run the driver in a new thread and the scenario in this one, or the other way round."""
    threads, results = set(threading.enumerate()), Future[Result]()

    def direct() -> None:
        try:
            results.set_result(_directed(scenario, stage, threads))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            results.set_exception(error)
        finally:
            stage.release()

    here, there = (stage.thread.serve, direct) if main_thread else (direct, stage.thread.serve)
    other = threading.Thread(target=there, name=OTHER_THREAD, daemon=True)
    other.start()
    here()
    if stage.thread.returned(0.0):
        other.join()
    return results.result()


def _directed(scenario: Scenario, stage: Stage, threads: set[threading.Thread]) -> Result:
    """Play the scenario and return what was observed.

    Raises: NotReached, when no rule was broken.
    """
    seen: list[DriverError] = []
    with stage.listening():
        missed: DriverError | None = None
        not_played, not_reached = "", None
        try:
            scenario.play(stage)
        except (Gone, Silence) as error:
            missed = stage.blame(Rule.END, f"the connection did not last ({error})")
        except DriverError as error:
            missed = error
        except NotPlayed as why:
            not_played = str(why)
        except NotReached as why:
            not_reached = str(why)
        noticed = len(stage.core.complaints)
        seen += stage.core.complaints
        seen += unwritten(stage) if missed is None else ()
        stage.finish()
        returned = stage.thread.returned(stage.patience)
        seen += differences(stage)
        seen += unasked(stage)
        seen += [] if missed is None else [missed]
        seen += false_reports(stage)
        seen += stage.core.complaints[noticed:]
        seen += left_behind(stage, threads, returned=returned)
    if not_reached is not None and not seen:
        raise NotReached(not_reached)
    breaks = dict.fromkeys(Break(error.rule, error.what) for error in seen)
    return Result(
        scenario=scenario,
        breaks=tuple(breaks),
        steps=tuple(stage.core.steps),
        not_played=not_played,
    )


def named(name: str, scenarios: Sequence[Scenario] = SCENARIOS) -> Scenario:
    """Return the scenario with this name.

    Raises: ValidationError when there is none.
    """
    for scenario in scenarios:
        if scenario.name == name:
            return scenario
    like = get_close_matches(name, [scenario.name for scenario in scenarios], n=1)
    option = "" if scenarios is SCENARIOS else "--session "
    hint = f": did you mean {like[0]!r}?" if like else ""
    raise ValidationError(
        f"scenario must be one that python -m bitget_proto.testing {option}--list names; got {safe_repr(name)}{hint}"
    )


def check_thread(*, main_thread: bool) -> None:
    """Check that this is the main thread, if a driver is to run in it.

    Raises: ValidationError when it is not.
    """
    if main_thread and threading.current_thread() is not threading.main_thread():
        raise ValidationError(
            "main_thread=True runs the driver in the main thread, and this is "
            f"{threading.current_thread().name!r}: call it from the main thread"
        )
