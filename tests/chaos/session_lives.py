"""`python -m tests.chaos.session_lives`: random runs of a `Session` or a `Connection`.

Each run is checked against an independent ledger of everything that was sent and done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence

import attrs
from tests.chaos.lives_dice import Dice, Tape, shrink
from tests.chaos.lives_ledger import Broken
from tests.chaos.lives_world import Plant, RandomRun

from bitget_proto import Dialect


@attrs.frozen
class Finding:
    """A run in which a promise was broken."""

    seed: int
    broken: Broken
    tape: Tape


def run_once(
    dice: Dice,
    visits: Counter[str],
    *,
    session: bool = True,
    plant: Plant | None = None,
    dialect: Dialect = Dialect.CLASSIC,
) -> Broken | None:
    """Run once; return the broken promise, if any."""
    try:
        RandomRun(dice, visits, session=session, plant=plant, dialect=dialect).run()
    except Broken as broken:
        return broken
    return None


def run_many(
    count: int,
    seed: int,
    visits: Counter[str],
    *,
    session: bool = True,
    plant: Plant | None = None,
    most: int = 1,
    skip: Container[str] = (),
    report: Callable[[Finding], None] | None = None,
    dialect: Dialect = Dialect.CLASSIC,
) -> list[Finding]:
    """Run `count` times; return the first findings, one for each promise, at most `most`."""
    found: dict[str, Finding] = {}
    for number in range(count):
        dice = Dice(seed + number)
        broken = run_once(dice, visits, session=session, plant=plant, dialect=dialect)
        visits["runs"] += 1
        if broken is not None:
            visits[f"broken: {broken.rule}"] += 1
            if broken.rule in skip:
                continue
            if broken.rule not in found:
                found[broken.rule] = finding = Finding(seed + number, broken, dice.tape)
                if report is not None:
                    report(finding)
                if len(found) >= most:
                    break
    return list(found.values())


def counterexample(
    finding: Finding,
    *,
    session: bool = True,
    plant: Plant | None = None,
    seconds: float = 20.0,
    dialect: Dialect = Dialect.CLASSIC,
) -> tuple[Broken, list[str]]:
    """Return the shortest run found that breaks the same promise, with the list of its calls."""

    def fails(tape: Tape) -> bool:
        broken = run_once(Dice(tape=tape), Counter(), session=session, plant=plant, dialect=dialect)
        return broken is not None and broken.rule == finding.broken.rule

    tape = shrink(finding.tape, fails, seconds)
    log: list[str] = []
    dice = Dice(tape=tape)
    try:
        RandomRun(dice, Counter(), session=session, plant=plant, log=log, dialect=dialect).run()
    except Broken as broken:
        return broken, log
    raise AssertionError("the run is not reproducible")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.session_lives",
        description="Run random sessions or connections, checked against an independent ledger.",
    )
    parser.add_argument("--runs", type=int, default=10_000, help="number of runs")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run")
    parser.add_argument(
        "--core", choices=("session", "connection"), default="session", help="what is run"
    )
    parser.add_argument(
        "--account",
        choices=[dialect.value for dialect in Dialect],
        default="classic",
        help="the kind of account (default: %(default)s)",
    )
    parser.add_argument(
        "--findings",
        type=int,
        default=1,
        help="stop after this number of different broken promises",
    )
    parser.add_argument(
        "--shrink",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="time spent on finding a shorter example",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="RULE",
        help="ignore this promise, which is known to be broken",
    )
    options = parser.parse_args(arguments)
    session, dialect = options.core == "session", Dialect(options.account)
    visits: Counter[str] = Counter()
    began = time.monotonic()
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        findings.append(finding)
        print(f"Seed {finding.seed}: {finding.broken}")
        broken, log = counterexample(
            finding, session=session, seconds=options.shrink, dialect=dialect
        )
        print(f"The shortest run found: {broken}")
        for line in log:
            print(f"    {line}")
        print(flush=True)

    try:
        run_many(
            options.runs,
            options.seed,
            visits,
            session=session,
            most=options.findings,
            skip=options.skip,
            report=report,
            dialect=dialect,
        )
    except KeyboardInterrupt:
        print("Interrupted.")
    print(
        f"{visits['runs']} runs of a {options.core} ({options.account}) from seed {options.seed}, "
        f"{time.monotonic() - began:.1f} s"
    )
    for name, count in sorted(visits.items()):
        print(f"{count:>10,}  {name}")
    if not findings:
        known = sum(visits[f"broken: {rule}"] for rule in options.skip)
        print(
            f"Every promise was kept, except {known} known violations."
            if known
            else "Every promise was kept."
        )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
