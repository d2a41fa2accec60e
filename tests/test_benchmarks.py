"""Tests that the benchmarks run; they check no speeds, which depend on the machine's load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import frames, plots, sides, turns
from benchmarks.__main__ import groups
from benchmarks.sides import Group, Side, Target, Turn, Verdict

from bitget_proto import (
    Codec,
    Engine,
    ErrorReply,
    LoginReply,
    Malformed,
    OrdersPush,
    Pong,
    TradeReply,
)

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, timeout=300, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_benchmarks_run_and_every_figure_is_in_a_group(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run("benchmarks", "--quick", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(file.read_text(encoding="utf-8"))
    results = [turns.Result.from_json(result) for result in report["results"]]
    assert report["quick"]
    assert {result.group for result in results} <= {group.name for group in groups()}
    by_name = {(result.group, result.name): result for result in results}
    assert len(by_name) == len(results)
    for result in results:
        assert result.name in done.stdout
        assert result.median > 0
        assert result.rounds >= (1 if result.unit == "B" else 3)
        if result.floor is not None:
            assert (result.group, result.floor) in by_name
            assert result.ratio is not None
            assert result.ratio > 0


def test_there_is_a_group_for_every_subject_of_a_target() -> None:
    names = [group.name for group in groups()]
    assert len(set(names)) == len(names)
    assert {name.split(",")[0] for name in names} >= {
        "encode", "build", "decode", "cycle", "memory", "import", "round trip", "64 in flight",
    }  # fmt: skip


@pytest.mark.slow
def test_the_scaling_benchmark_runs() -> None:
    done = run("benchmarks.scaling", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    assert "| cancels in flight | a cycle |" in done.stdout
    assert "300 connects that are allowed in 5 minutes" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_the_benchmark_of_leases_runs() -> None:
    done = run("benchmarks.leases", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    assert "With a lease for each cancel, a cancel takes" in done.stdout
    assert "| limit per second | used of it |" in done.stdout


@pytest.mark.slow
def test_equal_results_are_drawn_alike(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results, _ = measured(
        constant("Connection", 1e-6), constant("other", 2e-6, floor="Connection"), name="cycle"
    )
    (first,), (second,) = plots.draw(results, tmp_path / "a"), plots.draw(results, tmp_path / "b")
    assert first.name == second.name == "cycle.svg"
    assert first.read_text(encoding="utf-8") == second.read_text(encoding="utf-8")
    assert "other" in first.read_text(encoding="utf-8")


def test_a_name_that_fits_no_group_is_a_usage_error() -> None:
    done = run("benchmarks", "--quick", "nonsense")
    assert done.returncode == 2
    assert "no group name contains 'nonsense': --list prints all names" in done.stderr


def test_the_help_shows_examples() -> None:
    done = run("benchmarks", "--help")
    assert done.returncode == 0
    assert "examples:\n  python -m benchmarks" in done.stdout


def test_the_names_of_the_groups_can_be_listed() -> None:
    done = run("benchmarks", "--list", "encode")
    assert (done.returncode, done.stdout) == (0, "encode\nencode, both ids\nencode, login\n")


# --- turns ---


def constant(name: str, seconds: float, **others: object) -> Side:
    """A side with a fixed time per operation; no real time passes."""
    return Side(name=name, turn=lambda count: Turn(seconds * count, seconds * count / 2), **others)  # type: ignore[arg-type]


def measured(
    *parts: sides.Part, by_rate: bool = False, name: str = "group"
) -> tuple[list[turns.Result], list[sides.Skipped]]:
    return turns.measure(Group(name=name, sides=lambda _: parts, by_rate=by_rate), 7, quick=False)


def test_a_ratio_compares_times_and_is_checked_against_the_target() -> None:
    results, _ = measured(
        constant("floor", 1e-6, size=100),
        constant("ours", 3e-6, floor="floor", target=Target(4.0, 2.0), size=100),
    )
    floor, ours = results
    assert (floor.ratio, floor.verdict) == (None, None)
    assert ours.ratio == pytest.approx(3.0)
    assert ours.verdict is Verdict.MUST
    assert ours.median == pytest.approx(3e-6)
    assert ours.cpu == pytest.approx(1.5e-6)
    assert ours.megabytes_per_second == pytest.approx(100 / 3)
    assert ours.spread == pytest.approx(0.0, abs=1e-9)
    assert ours.rounds == 7


def test_a_ratio_compares_rates_where_more_is_better() -> None:
    target = Target(1.2, 2.0, at_least=True)
    results, _ = measured(
        constant("floor", 3e-6), constant("ours", 1e-6, floor="floor", target=target), by_rate=True
    )
    assert results[1].ratio == pytest.approx(3.0)
    assert results[1].verdict is Verdict.AIM


def test_a_time_is_divided_by_the_operations_of_a_turn() -> None:
    results, _ = measured(constant("many", 64e-6, per=64))
    assert results[0].median == pytest.approx(1e-6)
    assert results[0].per_second == pytest.approx(1e6)


def test_without_its_floor_a_side_has_no_ratio_and_no_verdict() -> None:
    skipped = sides.Skipped(name="floor", why="it is not there")
    results, missing = measured(
        skipped, constant("ours", 1e-6, floor="floor", target=Target(4.0, 2.0))
    )
    assert missing == [skipped]
    assert (results[0].floor, results[0].ratio, results[0].verdict) == (None, None, None)


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (Target(2.0, 1.0), 1.0, Verdict.AIM),
        (Target(2.0, 1.0), 2.0, Verdict.MUST),
        (Target(2.0, 1.0), 2.1, Verdict.MISSED),
        (Target(1.0, 2.0, at_least=True), 2.0, Verdict.AIM),
        (Target(1.0, 2.0, at_least=True), 1.0, Verdict.MUST),
        (Target(1.0, 2.0, at_least=True), 0.9, Verdict.MISSED),
    ],
)
def test_a_result_equal_to_the_target_meets_it(
    target: Target, value: float, verdict: Verdict
) -> None:
    assert target.verdict(value) is verdict


def test_the_preparation_of_a_turn_is_not_timed() -> None:
    done: list[str] = []

    def job(count: int) -> object:
        done.append(f"prepared {count}")
        return lambda: done.append("done")

    turn = sides.timed(job)(3)  # type: ignore[arg-type]
    assert done == ["prepared 3", "done"]
    assert turn.seconds > 0


# --- frames ---


def test_the_stream_is_deterministic_and_has_every_message_type() -> None:
    texts = frames.stream(5_000)
    assert texts == frames.stream(5_000)
    messages = list(map(Codec().decode, texts))
    assert {type(message) for message in messages} == {
        TradeReply,
        ErrorReply,
        LoginReply,
        Pong,
        OrdersPush,
    }
    assert not any(isinstance(message, Malformed) for message in messages)
    codes = {message.code for message in messages if isinstance(message, ErrorReply)}
    assert {"43001", "40769", "40010", "30006"} <= codes
    assert any(isinstance(message, ErrorReply) and message.id is None for message in messages)


def test_every_engine_reads_the_stream_alike() -> None:
    texts = frames.stream(2_000)
    first, *others = (list(map(Codec(engine).decode, texts)) for engine in Engine)
    assert all(other == first for other in others)


def test_the_handwritten_request_equals_that_of_the_codec() -> None:
    assert json.loads(Codec().encode_cancel(frames.ORDER, "7")) == frames.request("7")
