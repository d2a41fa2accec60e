"""`python -m bitget_proto.testing`, called as a function."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from bitget_proto.testing.__main__ import main
from bitget_proto.testing._kit.runner import SCENARIOS, SESSION_SCENARIOS

from . import faulty_drivers, selector_driver, selector_session_driver

GOOD = f"{selector_driver.__name__}:SelectorDriver"
FAULTY = f"{faulty_drivers.__name__}:ReportsAWrittenFrameAsUnsent"


def test_a_correct_driver_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([GOOD, "--scenario", "hangup", "--scenario", "gap"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [
        ["hangup", "kept", "end"],
        ["gap", "kept", "alternate"],
    ]
    assert lines[-1] == "2 scenarios kept, 0 broken"


def test_a_driver_may_have_the_main_thread(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([GOOD, "--scenario", "hangup", "--main-thread"]) == 0
    assert capsys.readouterr().out.endswith("1 scenarios kept, 0 broken\n")


@pytest.mark.parametrize("steps", [True, False])
def test_a_broken_rule_is_printed_and_exits_with_1(
    steps: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main([FAULTY, "--scenario", "reset", "--patience", "0.3", *(["--steps"] if steps else [])])
        == 1
    )
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["reset", "BROKEN", "end"]
    assert "the cancel 'a' was reported as unsent" in out
    assert ("The steps:" in out) == steps
    assert out.endswith("0 scenarios kept, 1 broken; rules broken: end\n")


def test_a_scenario_that_was_not_run_is_not_reported_as_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([f"{faulty_drivers.__name__}:DoesNotWakeUp", "--patience", "0.1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert " not played " in lines[1]
    assert lines[1].endswith(' ms  "login and a cancel" is broken')
    assert f"{len(SCENARIOS) - 1} not played" in lines[-1]


def test_a_driver_of_a_session_is_checked_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    good = f"{selector_session_driver.__name__}:SelectorSessionDriver"
    assert main(["--session", good, "--scenario", "two links", "--scenario", "hangup"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["two", "links", "kept", "link"]
    assert lines[-1] == "2 scenarios kept, 0 broken"
    assert main([good, "--scenario", "two links"]) == 2
    assert "--list names; got 'two links'" in capsys.readouterr().err


def test_a_closed_output_pipe_ends_the_command_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pipe(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Pipe())
    assert main(["--list"]) == 141


def test_the_list_names_every_scenario_with_its_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SCENARIOS)
    for line, scenario in zip(lines, SCENARIOS, strict=True):
        assert line.startswith(scenario.name)
        assert scenario.rule.value in line
        assert line.endswith(scenario.tells)


def test_the_list_for_sessions_has_more_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == main(["--list", "--session"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SCENARIOS) + len(SESSION_SCENARIOS)
    assert any(line.startswith("two links") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "the driver must be named as MODULE:MAKE_DRIVER; got 'nonsense'"),
        ([":f"], "the driver must be named as MODULE:MAKE_DRIVER; got ':f'"),
        (["no_such_module:f"], "cannot be imported: No module named 'no_such_module'"),
        (
            ["bitget_proto:nonsense"],
            "cannot be imported: module 'bitget_proto' has no attribute 'nonsense'",
        ),
        (["bitget_proto:Conection"], "has no attribute 'Conection'; did you mean 'Connection'?"),
        (["mine/drivers.py:f"], "is a file path: use the module's name"),
        (["bitget_proto:__version__"], "is not callable"),
        (
            [GOOD, "--scenario", "nap"],
            "-m bitget_proto.testing --list names; got 'nap': did you mean 'gap'?",
        ),
    ],
)
def test_an_invalid_argument_exits_with_2_and_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m bitget_proto.testing: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1 / 0", "ZeroDivisionError: division by zero (stumbles.py, line 1)"),
        ("\ndef f(:", "SyntaxError: invalid syntax (stumbles.py, line 2)"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit('usage: …')", "SystemExit: usage: … (stumbles.py, line 1)"),
    ],
)
def test_a_module_that_raises_exits_with_2_and_one_line(
    source: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "stumbles.py").write_text(source, "utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "stumbles", raising=False)
    assert main(["stumbles:make_driver"]) == 2
    assert (
        capsys.readouterr().err
        == f"python -m bitget_proto.testing: 'stumbles:make_driver' cannot be imported: {words}\n"
    )


@pytest.mark.parametrize("arguments", [[], [GOOD, "--patience", "0"], [GOOD, "--patience", "nan"]])
def test_invalid_options_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
