"""The conformance kit with a correct driver and with broken ones, in real time."""

from __future__ import annotations

import ast
import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

import bitget_proto.testing
from bitget_proto import Connection, Output, Transmit, ValidationError
from bitget_proto.testing import ContractBroken, DriverError, Report, Result, Rule, check_driver
from bitget_proto.testing._kit.driver_thread import MakeDriver
from bitget_proto.testing._kit.harness import NotReached, Stage
from bitget_proto.testing._kit.recording import DriverStep
from bitget_proto.testing._kit.report import Break
from bitget_proto.testing._kit.runner import (
    ATTEMPTS,
    OF_SESSIONS,
    SCENARIOS,
    SESSION_SCENARIOS,
    play,
)
from bitget_proto.testing._kit.scenario import Scenario
from bitget_proto.testing._kit.websocket_peer import Gone
from bitget_proto.testing.pytest import scenarios

from .faulty_drivers import (
    BlocksInAWrite,
    DoesNotDrainAfterOpened,
    KeepsItsTimer,
    PassesOnMessagesTwice,
    PollsOnceAfterAMessage,
    ReportsAWrittenFrameAsUnsent,
)
from .patience import BUSY, PATIENCE, run_scenario
from .selector_driver import Call, SelectorDriver

test_the_correct_driver_keeps_every_rule = scenarios(SelectorDriver, patience=BUSY)


# --- the scenarios ---


def test_every_rule_has_a_scenario_and_scenario_names_are_unique() -> None:
    assert {scenario.rule for scenario in SCENARIOS} == set(Rule) - {Rule.DIAL, Rule.LINK}
    assert {scenario.rule for scenario in OF_SESSIONS} >= {Rule.DIAL, Rule.LINK}
    assert SESSION_SCENARIOS == SCENARIOS + OF_SESSIONS
    names = {scenario.name for scenario in SESSION_SCENARIOS}
    assert len(names) == len(SESSION_SCENARIOS) >= 60
    assert all(scenario.tells.endswith(".") for scenario in SESSION_SCENARIOS)


def test_an_unknown_scenario_is_refused_with_the_most_similar_name() -> None:
    with pytest.raises(
        ValidationError,
        match=r"^scenario must be one .* --list names; got 'nap': did you mean 'gap'\?$",
    ):
        check_driver(SelectorDriver, ["nap"])


def test_if_login_and_a_cancel_fails_the_other_scenarios_are_not_run() -> None:
    results: list[Result] = []
    report = check_driver(DoesNotDrainAfterOpened, patience=PATIENCE, tell=results.append)
    assert results == list(report.results)
    assert [result.scenario for result in results] == list(SCENARIOS)
    assert not report.kept
    assert report.broken == {Rule.DRAIN}
    assert all(result.not_played == '"login and a cancel" is broken' for result in results[1:])
    assert str(report).endswith(
        f"0 scenarios kept, 1 broken, {len(SCENARIOS) - 1} not played; rules broken: drain"
    )


# --- objects that are not drivers ---


class NoCall(SelectorDriver):
    def call(self, fn: object) -> None:
        raise NotImplementedError


class OtherConnection(SelectorDriver):
    def run_calls(self) -> None:
        while self.calls:
            self.calls.popleft()(Connection(), self.now())


class NoUpgrade(SelectorDriver):
    def dial(self) -> None:
        raise ConnectionError("no network")


class ReturnsAtOnce(SelectorDriver):
    def serve(self) -> None:
        assert self.socket is not None
        self.socket.setblocking(True)


class WritesAfterTheClose(SelectorDriver):
    def send_close(self, code: int, reason: str) -> None:
        super().send_close(code, reason)
        self.close_sent = False
        super().send_close(code, reason)


class ClosesWithoutACode(SelectorDriver):
    def send_close(self, code: int, reason: str) -> None:
        self.close_sent = True
        self.out += b"\x88\x80\x00\x00\x00\x00"


class ClosesByItself(SelectorDriver):
    def transmit(self, output: Transmit) -> None:
        super().transmit(output)
        if output.ids == ("d",):  # once: a second close would end the connection at once
            self.call(lambda connection, now: connection.close(now))


class LosesTheLastOfManyCalls(SelectorDriver):
    seen = 0

    def call(self, fn: Call) -> None:
        self.seen += 1
        if self.seen < 20:
            super().call(fn)


class EndsWhenItIsReady(SelectorDriver):
    def received(self, message: str | bytes) -> None:
        super().received(message)
        self.closed = True

    def call(self, fn: object) -> None:
        time.sleep(0.1)
        raise RuntimeError("the loop is closed")


class TakesOneCall(SelectorDriver):
    def call(self, fn: Call) -> None:
        self.call = lambda fn: None  # type: ignore[method-assign]
        super().call(fn)


class RequestsNoWebSocket(SelectorDriver):
    def dial(self) -> None:
        self.socket = socket.create_connection((self.url.hostname, self.url.port or 80))
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        raise ConnectionError("no WebSocket")


class WaitsTooLong(SelectorDriver):
    def now(self) -> float:
        return super().now() - (0.0 if self.connection.state.value == "new" else 1.0)


@pytest.mark.parametrize(
    ("driver", "scenario", "rule", "words"),
    [
        (NoCall, "login and a cancel", Rule.CALLER, "call(fn) raised NotImplementedError()"),
        (
            OtherConnection,
            "login and a cancel",
            Rule.CALLER,
            "call(fn) passed another connection to fn",
        ),
        (
            NoUpgrade,
            "login and a cancel",
            Rule.END,
            "the driver did not open a WebSocket (no connection came in time); run() had",
        ),
        (NoUpgrade, "upgrade refused", Rule.END, "the driver did not request a WebSocket"),
        (ReturnsAtOnce, "login unanswered", Rule.OVERDUE, "run() had returned"),
        (
            ClosesByItself,
            "deadlines in a row",
            Rule.END,
            "the connection refused a command: the connection is closing",
        ),
        (EndsWhenItIsReady, "clock", Rule.END, "s; run() had returned"),
        (
            LosesTheLastOfManyCalls,
            "calls from many threads",
            Rule.CALLER,
            "one call(fn) did not run fn",
        ),
        (
            BlocksInAWrite,
            "one frame unwritten",
            Rule.READ,
            "the driver did nothing else while a write stalled",
        ),
        (TakesOneCall, "gap", Rule.CALLER, "call(fn) did not run fn"),
        (RequestsNoWebSocket, "hangup", Rule.END, "it has no Sec-WebSocket-Key"),
        (WritesAfterTheClose, "hangup", Rule.WRITE, "a frame came after the close frame"),
        (ClosesWithoutACode, "hangup", Rule.END, "got one with code 1005"),
        (WaitsTooLong, "login and a cancel", Rule.CLOCK, "got the time"),
    ],
)
def test_a_driver_that_does_not_work_at_all_is_an_error(
    driver: type[SelectorDriver], scenario: str, rule: Rule, words: str
) -> None:
    result = run_scenario(driver, scenario, rule, words)
    assert result.broken is rule
    assert words in str(result)


def test_an_exception_of_make_driver_is_an_error() -> None:
    def make_driver(connection: Connection, url: str) -> SelectorDriver:
        raise LookupError(url)

    words = "no connection came in time); make_driver raised LookupError('ws://127.0.0.1:"
    result = run_scenario(make_driver, "login and a cancel", Rule.END, words)
    assert words in str(result)
    assert "') (test_kit.py, line " in str(result)


def gives(made: Any) -> MakeDriver:
    return lambda connection, url: made


def test_a_make_driver_that_returns_no_driver_is_an_error() -> None:
    class WithoutCall:
        def run(self) -> None:
            """Do nothing."""

    class Coroutine(WithoutCall):
        async def run(self) -> None:  # type: ignore[override]
            """Is never awaited."""

        def call(self, fn: Call) -> None:
            """Do nothing."""

    for made, words in (
        (None, "make_driver returned None, which has no run(): a driver has run() and call(fn)"),
        (WithoutCall(), "which has no call(): a driver has run() and call(fn)"),
        (Coroutine(), "run() is a coroutine function: it must block"),
    ):
        result = run_scenario(gives(made), "login and a cancel", Rule.END, words)
        assert words in str(result)


def test_a_make_driver_that_hangs_is_an_error() -> None:
    rests = threading.Event()

    def make_driver(connection: Connection, url: str) -> SelectorDriver:
        rests.wait(10.0)
        raise LookupError

    (result,) = check_driver(make_driver, ["login and a cancel"], patience=PATIENCE).results
    rests.set()
    assert "no connection came in time); make_driver had not returned" in str(result)


def test_a_connection_that_ends_early_is_reported_with_its_reason() -> None:
    def vanish(stage: Stage) -> None:
        stage.log_in()
        raise Gone("it was cut")

    scenario = Scenario(name="vanish", rule=Rule.END, tells="It vanishes.", play=vanish)
    result = play(scenario, SelectorDriver, patience=PATIENCE)
    assert [str(one.what) for one in result.breaks] == ["the connection did not last (it was cut)"]


def test_a_stuck_driver_is_reported_with_the_place_of_its_thread() -> None:
    rests = threading.Event()

    class Hangs(SelectorDriver):
        def lost(self, reason: str) -> None:
            rests.wait(10.0)

    (result,) = check_driver(Hangs, ["end of stream"], patience=PATIENCE).results
    rests.set()
    assert "lost was not called; its thread is in wait() (threading.py, line " in str(result)
    assert ", called by lost() (test_kit.py, line " in str(result)


def test_unread_bytes_are_the_reason_of_a_run_that_does_not_return() -> None:
    class ReadsOneAnswer(SelectorDriver):
        at_once = 1

        def take_what_has_arrived(self) -> None:
            if not self.connection.outcomes:  # type: ignore[attr-defined]
                super().take_what_has_arrived()

    words = "run() had not returned 0.3 s after the transport had ended: "
    result = run_scenario(ReadsOneAnswer, "login and a cancel", Rule.READ, words)
    assert words in str(result)
    assert " bytes lie unread; its thread is in " in str(result)  # it does not wait: anywhere


class FreedInItsThread(SelectorDriver):
    """Refers to itself, so that only the garbage collector frees it."""

    freed: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, connection: Connection, url: str) -> None:
        super().__init__(connection, url)
        self.itself, self.made_in = self, threading.get_ident()

    def __del__(self) -> None:
        self.freed.append((self.made_in, threading.get_ident()))


@pytest.mark.parametrize("main_thread", [False, True])
def test_a_driver_is_freed_in_the_thread_in_which_it_was_made(main_thread: bool) -> None:
    FreedInItsThread.freed.clear()
    report = check_driver(FreedInItsThread, ["hangup", "reset"], main_thread=main_thread)
    assert report.kept
    assert len(FreedInItsThread.freed) == 2
    for made_in, freed_in in FreedInItsThread.freed:
        assert made_in == freed_in
        assert (made_in == threading.main_thread().ident) is main_thread


def test_a_driver_that_cannot_be_referred_to_weakly_is_freed_too() -> None:
    class Slotted:
        __slots__ = ("call", "run")

        def __init__(self, connection: Connection, url: str) -> None:
            inner = SelectorDriver(connection, url)
            self.run, self.call = inner.run, inner.call

    assert check_driver(Slotted, ["hangup"], patience=BUSY).kept
    gc.disable()
    try:
        assert check_driver(Slotted, ["hangup"], patience=BUSY).kept
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_driver_that_keeps_the_main_thread_is_interrupted() -> None:
    class Hangs(SelectorDriver):
        def lost(self, reason: str) -> None:
            while True:
                time.sleep(0.01)

    report = check_driver(Hangs, ["end of stream", "hangup"], patience=PATIENCE, main_thread=True)
    assert report["end of stream"].broken is Rule.END
    assert "; its thread is in lost() (test_kit.py, line " in str(report)
    assert report["hangup"].kept


def test_ctrl_c_ends_a_kit_that_runs_the_driver_in_the_main_thread() -> None:
    class Interrupted(SelectorDriver):
        def opened(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_driver(Interrupted, ["hangup"], patience=PATIENCE, main_thread=True)


def test_the_main_thread_is_used_only_from_the_main_thread() -> None:
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            check_driver(SelectorDriver, ["hangup"], main_thread=True)
        except ValidationError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere, name="a worker")
    thread.start()
    thread.join()
    assert str(raised[0]) == (
        "main_thread=True runs the driver in the main thread, and this is 'a worker': "
        "call it from the main thread"
    )


def test_an_error_in_a_scenario_is_raised_to_the_caller() -> None:
    def fail(stage: Stage) -> None:
        raise ZeroDivisionError

    scenario = Scenario(name="fail", rule=Rule.END, tells="It fails.", play=fail)
    for main_thread in (False, True):
        with pytest.raises(ZeroDivisionError):
            play(scenario, SelectorDriver, main_thread=main_thread)


def test_a_scenario_without_its_situation_is_played_again_and_never_kept() -> None:
    attempts: list[int] = []

    def never(stage: Stage) -> None:
        stage.log_in()
        attempts.append(stage.attempt)
        raise NotReached("the write did not stall")

    def later(stage: Stage) -> None:
        stage.log_in()
        if stage.attempt < 2:
            raise NotReached("the write did not stall")

    scenario = Scenario(name="never", rule=Rule.END, tells="It never stalls.", play=never)
    result = play(scenario, SelectorDriver, patience=BUSY)
    assert attempts == list(range(ATTEMPTS))
    assert str(result) == (
        f"not played  never: its situation did not arise in {ATTEMPTS} attempts: "
        "the write did not stall"
    )
    assert not result.kept
    assert result.steps
    assert play(attrs.evolve(scenario, play=later), SelectorDriver, patience=BUSY).kept


def test_a_driver_that_names_no_unsent_frame_is_not_said_to_have_kept_the_rule() -> None:
    class NamesNone(SelectorDriver):
        def unsent(self) -> tuple[str, ...]:
            return ()

    (result,) = check_driver(NamesNone, ["close frame while a write stalls"], patience=BUSY).results
    assert not result.kept
    assert result.not_played.endswith(" attempts: lost named no frame as unsent")


def test_a_driver_may_name_an_unsent_batch_by_one_of_its_cancels() -> None:
    class NamesOne(SelectorDriver):
        def unsent(self) -> tuple[str, ...]:
            return super().unsent()[-1:]

    check_driver(NamesOne, ["close frame while a batch stalls"], patience=BUSY).check()


def test_a_scenario_is_played_again_when_the_machine_was_too_slow() -> None:
    class SlowAtFirst(SelectorDriver):
        connections: ClassVar[list[Connection]] = []

        def arm(self, until: float | None) -> None:
            super().arm(until)
            if self.connection not in self.connections:
                self.connections.append(self.connection)
            if until is not None and until < self.now() + 1.0 and len(self.connections) == 1:
                time.sleep(max(0.0, until - self.now()))
                self.handle_timeout(max(self.now(), until))

    for name in ("gap", "half a message", "wait moves later"):
        SlowAtFirst.connections.clear()
        assert check_driver(SlowAtFirst, [name], patience=BUSY).kept
        assert len(SlowAtFirst.connections) == 2


def test_a_write_that_does_not_stall_shows_nothing() -> None:
    class RoomForAll(SelectorDriver):
        def poll(self) -> Output:
            return self.connection.poll(self.now())

    (result,) = check_driver(RoomForAll, ["deadline while a write stalls"], patience=BUSY).results
    assert "the socket buffers took 1,000,000 bytes, and no write stalled" in str(result)


def test_a_broken_rule_counts_even_if_the_situation_did_not_arise() -> None:
    def never(stage: Stage) -> None:
        stage.log_in()
        raise NotReached("the write did not stall")

    scenario = Scenario(name="never", rule=Rule.END, tells="It never stalls.", play=never)
    assert play(scenario, PassesOnMessagesTwice, patience=PATIENCE).broken is Rule.READ


def test_a_call_waits_until_the_driver_exists() -> None:
    def early(stage: Stage) -> None:
        stage.thread.start()
        with pytest.raises(RuntimeError, match="there is no driver"):
            _ = stage.driver

    def make_driver(connection: Connection, url: str) -> SelectorDriver:
        time.sleep(0.2)
        raise LookupError

    scenario = Scenario(name="early", rule=Rule.END, tells="It is early.", play=early)
    (words,) = {one.what for one in play(scenario, make_driver, patience=0.15).breaks}
    assert words.startswith("make_driver raised LookupError() (test_kit.py, line ")


def test_a_scenario_that_never_starts_does_not_pass() -> None:
    scenario = Scenario(
        name="nothing", rule=Rule.END, tells="Nothing happens.", play=lambda stage: None
    )
    assert "run() returned before the connection was Closed" in str(
        play(scenario, SelectorDriver, patience=PATIENCE)
    )


# --- the report ---

ONE = SCENARIOS[0]


def test_a_report_of_kept_rules() -> None:
    report = check_driver(SelectorDriver, ["hangup", "close frame"])
    assert report.kept
    assert report.broken == frozenset()
    assert str(report).splitlines()[0].startswith("kept        hangup  (")
    assert str(report).splitlines()[-1] == report.summary == "2 scenarios kept, 0 broken"
    assert report["close frame"].kept
    report.check()
    with pytest.raises(KeyError):
        report["gap"]


def test_a_report_of_a_broken_rule_has_its_text_and_the_steps() -> None:
    report = check_driver(ReportsAWrittenFrameAsUnsent, ["hangup", "reset"], patience=PATIENCE)
    assert not report.kept
    with pytest.raises(ContractBroken) as caught:
        report.check()
    assert isinstance(caught.value, AssertionError)
    assert caught.value.result is report["reset"]
    words = str(caught.value)
    assert "BROKEN      reset: The connection is reset while a cancel is in flight" in words
    assert "the cancel 'a' was reported as unsent, and it has arrived, at least in part." in words
    assert f'Rule "end": {Rule.END.sentence}' in words
    assert "unsent=('a',)" in words
    assert "a login" in words
    assert "passphrase" not in words


def test_a_report_without_scenarios_is_not_kept() -> None:
    result = Result(scenario=ONE, not_played="of the weather")
    assert str(result) == "not played  login and a cancel: of the weather"
    assert not Report([result]).kept
    assert result.broken is None


def test_the_first_broken_rule_is_reported_as_the_cause() -> None:
    result = run_scenario(PollsOnceAfterAMessage, "two answers in one read", Rule.DRAIN)
    assert isinstance(result.breaks[0], Break)
    assert "was called before the drain had ended in a Wait" in result.breaks[0].what
    assert result.broken is result.breaks[0].rule is Rule.DRAIN


def test_many_equal_steps_are_counted_instead_of_shown() -> None:
    def steps() -> Iterator[DriverStep]:
        yield DriverStep(at=0.0, now=1.0, call="opened", what="a login")
        for number in range(1000):
            yield DriverStep(at=0.0, now=1.0, call="receive", what=f"message {number}")
            yield DriverStep(at=0.0, now=1.0, call="poll", what="Wait: only for input")
        yield DriverStep(at=0.0123, now=1.0, call="lost", what="'reset'")
        yield DriverStep(at=0.0123, now=1.0, call="poll, not writable", what="Closed")

    lines = Result(scenario=ONE, steps=tuple(steps())).story().splitlines()
    assert len(lines) == 9
    assert lines[6] == "             … 1995 more like these …"
    assert lines[7] == "     12.3 ms  now=1.0000  lost               'reset'"
    assert lines[8] == "     12.3 ms  now=1.0000  poll, not writable Closed"
    assert Result(scenario=ONE).story() == ""


def test_the_steps_show_what_the_driver_did_and_when() -> None:
    result = check_driver(KeepsItsTimer, ["wait moves sooner"], patience=PATIENCE)[
        "wait moves sooner"
    ]
    story = result.story()
    for call in (
        "opened",
        "receive",
        "cancel",
        "Transmit: a login",
        "Ready()",
        "Wait until",
        "ping",
        "request",
    ):
        assert call in story
    assert [step.at for step in result.steps] == sorted(step.at for step in result.steps)


def test_a_driver_error_separates_the_observation_from_the_rule() -> None:
    assert DriverError(Rule.CALLER, "it was called").what == "it was called"


# --- as tests of a user ---


def test_a_scenario_can_be_marked_as_an_expected_failure() -> None:
    test = scenarios(SelectorDriver, known=["gap"])
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    marks = {parameter.id: [one.name for one in parameter.marks] for parameter in mark.args[1]}
    assert set(marks) == {scenario.name.replace(" ", "-") for scenario in SCENARIOS}
    assert [name for name, names in marks.items() if names == ["xfail"]] == ["gap"]


def test_only_existing_scenarios_can_be_skipped() -> None:
    test = scenarios(SelectorDriver, without=["gap", "flood"])
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    assert len(mark.args[1]) == len(SCENARIOS) - 2
    with pytest.raises(
        ValidationError,
        match=r"^scenario must be one .* --list names; got 'nap': did you mean 'gap'\?$",
    ):
        scenarios(SelectorDriver, without=["nap"])
    with pytest.raises(
        ValidationError, match=r"^scenario must be one .* --list names; got 'login'$"
    ):
        scenarios(SelectorDriver, without=["login"])


def test_a_users_test_fails_with_the_rule_and_the_steps() -> None:
    by_name: dict[str, Scenario] = {scenario.name: scenario for scenario in SCENARIOS}
    with pytest.raises(ContractBroken, match='Rule "re-arm"'):
        scenarios(KeepsItsTimer, patience=PATIENCE)(by_name["wait moves sooner"])


def test_a_users_test_is_skipped_when_the_scenario_cannot_run() -> None:
    class NoAbandon:
        def __init__(self, connection: Connection, url: str) -> None:
            self.driver = SelectorDriver(connection, url)
            self.run, self.call = self.driver.run, self.driver.call

    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    with pytest.raises(pytest.skip.Exception, match="no abandon"):
        scenarios(NoAbandon)(by_name["abandoned wait"])


def test_a_users_test_may_run_the_driver_in_the_main_thread() -> None:
    made_in: list[int] = []

    def make_driver(connection: Connection, url: str) -> SelectorDriver:
        made_in.append(threading.get_ident())
        return SelectorDriver(connection, url)

    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    scenarios(make_driver, main_thread=True)(by_name["hangup"])
    assert made_in == [threading.main_thread().ident]


# --- imports ---


def test_only_the_kit_imports_sockets_and_threads() -> None:
    def modules_after(statement: str) -> set[str]:
        program = f"{statement}; import sys; print(*sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
        )
        return set(run.stdout.split())

    brought = modules_after("import bitget_proto.testing") - modules_after("import attrs, cattrs")
    assert not brought & {
        "socket",
        "selectors",
        "threading",
        "pytest",
        "argparse",
        "asyncio",
        "ssl",
    }
    assert {"socket", "threading"} <= modules_after("from bitget_proto.testing import check_driver")


def test_each_module_imports_only_the_io_that_it_needs() -> None:
    uses: dict[str, set[str]] = {}
    for path in Path(bitget_proto.testing.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for name in {"socket", "threading", "pytest", "argparse"} & {
                *([alias.name for alias in node.names] if isinstance(node, ast.Import) else []),
                *([node.module] if isinstance(node, ast.ImportFrom) and not node.level else []),
            }:
                uses.setdefault(name, set()).add(path.stem)
    assert uses == {
        "socket": {"websocket_peer"},
        "threading": {"runner", "recording", "harness", "driver_thread", "invariants"},
        "pytest": {"pytest"},
        "argparse": {"__main__"},
    }


def test_the_kits_names_are_listed_and_unknown_names_raise() -> None:
    assert set(bitget_proto.testing.__all__) <= set(dir(bitget_proto.testing))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bitget_proto.testing.nonsense  # type: ignore[attr-defined]  # noqa: B018
