"""`python -m tests.chaos.session_lives`: random lives of a `Session`, held against a ledger of all that was said and done."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence

import attrs
from tests.chaos.lives_dice import Dice, Tape, shrink
from tests.chaos.lives_ledger import Broken
from tests.chaos.lives_world import Life, Plant


@attrs.frozen
class Finding:
    """A life in which a promise was broken."""

    seed: int
    broken: Broken
    tape: Tape


def one_life(
    dice: Dice, visits: Counter[str], *, session: bool = True, plant: Plant | None = None
) -> Broken | None:
    """Live once; returns the promise that was broken, if any."""
    try:
        Life(dice, visits, session=session, plant=plant).live()
    except Broken as broken:
        return broken
    return None


def lives(
    count: int,
    seed: int,
    visits: Counter[str],
    *,
    session: bool = True,
    plant: Plant | None = None,
    most: int = 1,
    skip: Container[str] = (),
    report: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Live so many times; returns the first findings, one for each promise, at most `most`."""
    found: dict[str, Finding] = {}
    for number in range(count):
        dice = Dice(seed + number)
        broken = one_life(dice, visits, session=session, plant=plant)
        visits["lives"] += 1
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
    finding: Finding, *, session: bool = True, plant: Plant | None = None, seconds: float = 20.0
) -> tuple[Broken, list[str]]:
    """Return the shortest life found that breaks the same promise: how, and the list of its calls."""

    def fails(tape: Tape) -> bool:
        broken = one_life(Dice(tape=tape), Counter(), session=session, plant=plant)
        return broken is not None and broken.rule == finding.broken.rule

    tape = shrink(finding.tape, fails, seconds)
    log: list[str] = []
    dice = Dice(tape=tape)
    try:
        Life(dice, Counter(), session=session, plant=plant, log=log).live()
    except Broken as broken:
        return broken, log
    raise AssertionError("a life that is lived again ends in another way")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.session_lives", description=__doc__
    )
    parser.add_argument("--lives", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", choices=("session", "connection"), default="session")
    parser.add_argument(
        "--findings",
        type=int,
        default=1,
        help="stop after so many broken promises of different kinds",
    )
    parser.add_argument(
        "--shrink",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="spend so long on a shorter example",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="RULE",
        help="a promise that is known to be broken",
    )
    options = parser.parse_args(arguments)
    session = options.core == "session"
    visits: Counter[str] = Counter()
    began = time.monotonic()
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        findings.append(finding)
        print(f"Seed {finding.seed}: {finding.broken}")
        broken, log = counterexample(finding, session=session, seconds=options.shrink)
        print(f"The shortest life found: {broken}")
        for line in log:
            print(f"    {line}")
        print(flush=True)

    try:
        lives(
            options.lives,
            options.seed,
            visits,
            session=session,
            most=options.findings,
            skip=options.skip,
            report=report,
        )
    except KeyboardInterrupt:
        print("Interrupted.")
    print(
        f"{visits['lives']} lives of a {options.core} from seed {options.seed}, {time.monotonic() - began:.1f} s"
    )
    for name, count in sorted(visits.items()):
        print(f"{count:>10,}  {name}")
    if not findings:
        known = sum(visits[f"broken: {rule}"] for rule in options.skip)
        print(
            f"Every promise was kept, but for {known} known."
            if known
            else "Every promise was kept."
        )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
