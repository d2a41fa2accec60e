"""A short chaos run with each transport; `python -m tests.chaos` is the long one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from tests.chaos.__main__ import chaos, confirmed_chaos, main
from tests.chaos.soak import main as soak
from tests.chaos.transports import Transport

from bitget_proto import (
    Accepted,
    Cancelled,
    Dialect,
    Filled,
    LinkClosed,
    NotFound,
    Policy,
    Unknown,
    Up,
)
from bitget_transports.faults.flaky_proxy import NetworkFault


@pytest.mark.slow
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("transport", Transport)
def test_every_promise_is_kept_over_twenty_cuts(transport: Transport, policy: Policy) -> None:
    result = chaos(transport, policy, 500, 20, seed=6)
    assert result.broken == []
    kinds = Counter(type(outcome) for outcome in result.outcomes)
    assert sum(kinds.values()) == 500
    # The run covered something.
    assert kinds[Accepted] > 100
    assert result.faults.total() >= 10
    assert set(result.faults) == set(NetworkFault)
    assert sum(isinstance(event, Up) for event in result.events) >= 10
    assert sum(isinstance(event, LinkClosed) for event in result.events) >= 10
    resent = sum(outcome.attempts > 1 for outcome in result.outcomes)
    assert (resent > 10) is (policy is Policy.RESEND)


@pytest.mark.slow
@pytest.mark.parametrize("transport", Transport)
def test_every_promise_is_kept_on_unified_accounts(transport: Transport) -> None:
    result = chaos(transport, Policy.RESEND, 500, 20, seed=7, dialect=Dialect.UNIFIED)
    assert result.broken == []
    kinds = Counter(type(outcome) for outcome in result.outcomes)
    assert sum(kinds.values()) == 500
    assert kinds[Accepted] > 100


@pytest.mark.slow
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("transport", Transport)
def test_every_final_is_true_over_ten_cuts(transport: Transport, policy: Policy) -> None:
    dialect = Dialect.UNIFIED if policy is Policy.RESEND else Dialect.CLASSIC
    result = confirmed_chaos(transport, policy, 120, 10, seed=6, dialect=dialect)
    assert result.broken == []
    kinds = Counter(type(final) for _, final in result.pairs)
    assert kinds[Cancelled] > 60
    assert kinds[Filled]
    assert kinds[NotFound]
    assert not kinds[Unknown]
    assert result.faults.total() >= 4


@pytest.mark.slow
def test_the_command_confirms(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--cancels", "20", "--cuts", "0", "--transport", "blocking", "--policy", "report"]
    assert main(["--confirm", *options]) == 0
    head, row, verdict = capsys.readouterr().out.splitlines()
    assert head.split("  ")[:4] == ["transport", "policy", "outcomes", "cancelled"]
    assert row.split()[:2] == ["blocking", "report"]
    assert row.split()[-1] == "0"
    assert verdict == "Every promise was kept."


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["--cancels", "50", "--cuts", "2", "--transport", "blocking", "--policy", "resend"])
        == 0
    )
    head, row, verdict = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["transport", "policy", "cancels"]
    assert row.split()[:3] == ["blocking", "resend", "50"]
    assert row.split()[-1] == "0"
    assert verdict == "Every promise was kept."


@pytest.mark.parametrize(
    ("command", "name"), [(main, "python -m tests.chaos"), (soak, "python -m tests.chaos.soak")]
)
def test_the_help_shows_examples(
    command: Callable[[list[str]], int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command(["--help"])
    assert end.value.code == 0
    assert f"examples:\n  {name}" in capsys.readouterr().out


def test_a_soak_prints_its_resources(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        soak(["--minutes", "0.01", "--every", "0.1", "--rate", "1000", "--transport", "asyncio"])
        == 0
    )
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    for line in lines:
        for word in (" MB ", " files ", " threads ", " tasks ", " dials ", " ups ", " accepted "):
            assert word in line
    assert verdict == "Every promise was kept."
