"""`python -m tests.chaos.days`: run adverse scenarios at the default settings.

Each scenario is checked against the exchange's own log. The output has its expected result, the
number of outcomes of each kind, and whether it passed. The exit status is 1 when one failed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence

from tests.chaos.days import answers, limits, links, signals, sockets
from tests.chaos.days.day import Record, Scenario

from bitget_proto import Accepted, Rejected, Unresolved

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *limits.SCENARIOS,
        *links.SCENARIOS,
        *answers.SCENARIOS,
        *signals.SCENARIOS,
        *sockets.SCENARIOS,
    )
}

SEED = 1

_WIDTH = 100
_COLUMNS = ("scenario", "cancels", "accepted", "rejected", "sent", "not sent", "seconds", "")
_FORM = "{:<21}{:>8}{:>10}{:>10}{:>8}{:>10}{:>15}  {:<6}"
_EXAMPLES = """\
examples:
  python -m tests.chaos.days
  python -m tests.chaos.days jitter maintenance
  python -m tests.chaos.days --seed 7 --list

exit codes: 0 when every scenario passed, 1 when one failed, 2 when a name is unknown
"""


def lines(scenario: Scenario, record: Record, faults: Sequence[str]) -> list[str]:
    """Return the printed lines of a scenario."""
    outcomes = record.outcomes
    kinds = Counter(type(outcome) for outcome in outcomes)
    reasons = {
        sent: Counter(o.why.value for o in outcomes if isinstance(o, Unresolved) and o.sent is sent)
        for sent in (True, False)
    }
    seconds = f"{record.seconds:.1f} {'real' if record.real else 'virtual'}"
    counts = (
        len(record.taken),
        kinds[Accepted],
        kinds[Rejected],
        reasons[True].total(),
        reasons[False].total(),
    )
    printed = [
        _FORM.format(scenario.name, *counts, seconds, "FAILED" if faults else "passed").rstrip()
    ]
    printed += _wrapped(f"expected: {scenario.expected}")
    if whys := [
        "sent " * sent + f"{why} {count}"
        for sent in reasons
        for why, count in sorted(reasons[sent].items())
    ]:
        printed += _wrapped(f"unresolved: {', '.join(whys)}")
    for fault in faults[:10]:
        printed += _wrapped(f"FAILED {fault}")
    return printed


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.days",
        description="Run adverse scenarios at the default settings, checked against the "
        "exchange's own log.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to run (default: all)")
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        metavar="N",
        help="seed of the random values (default: %(default)s)",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the scenarios and their expected results, without running them",
    )
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"NAME must be one of {', '.join(SCENARIOS)}; got {', '.join(unknown)}")
    scenarios = [SCENARIOS[name] for name in arguments.names] or list(SCENARIOS.values())
    if arguments.list:
        for scenario in scenarios:
            print(f"{scenario.name:<21}{scenario.expected}")
        return 0
    print(f"seed {arguments.seed}; sent, not sent: unresolved cancels")
    print(_FORM.format(*_COLUMNS).rstrip())
    count = 0
    for scenario in scenarios:
        record = scenario.run(arguments.seed)
        faults = scenario.faults(record)
        count += bool(faults)
        print("\n".join(lines(scenario, record, faults)), flush=True)
    print(
        f"{count} of {len(scenarios)} scenarios failed."
        if count
        else f"All {len(scenarios)} scenarios passed."
    )
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
