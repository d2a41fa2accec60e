"""`python -m tests.chaos.days`: bad days at the default settings, one row each, held against the exchange's own log.

Each row says what is right, what became of every cancel, and whether the right result was kept. The exit status is 1 when one
was missed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence

from tests.chaos.days import answers, limits, links, signals, sockets
from tests.chaos.days.day import Day, Row

from bitget_proto import Accepted, Rejected, Unresolved

ROWS: dict[str, Row] = {
    row.name: row
    for row in (*limits.ROWS, *links.ROWS, *answers.ROWS, *signals.ROWS, *sockets.ROWS)
}

SEED = 1

_WIDTH = 100
_COLUMNS = ("day", "cancels", "accepted", "rejected", "sent", "not sent", "seconds", "")
_FORM = "{:<21}{:>8}{:>10}{:>10}{:>8}{:>10}{:>15}  {:<6}"
_EXAMPLES = """\
examples:
  python -m tests.chaos.days
  python -m tests.chaos.days jitter maintenance
  python -m tests.chaos.days --seed 7 --list

exit codes: 0 when every right result was kept, 1 when one was missed, 2 for a name that is no row's
"""


def lines(row: Row, day: Day, missed: Sequence[str]) -> list[str]:
    """The row as it is printed."""
    outcomes = day.outcomes
    kinds = Counter(type(outcome) for outcome in outcomes)
    reasons = {
        sent: Counter(o.why.value for o in outcomes if isinstance(o, Unresolved) and o.sent is sent)
        for sent in (True, False)
    }
    seconds = f"{day.seconds:.1f} {'real' if day.real else 'virtual'}"
    counts = (
        len(day.taken),
        kinds[Accepted],
        kinds[Rejected],
        reasons[True].total(),
        reasons[False].total(),
    )
    printed = [_FORM.format(row.name, *counts, seconds, "MISSED" if missed else "kept").rstrip()]
    printed += _wrapped(f"right: {row.right}")
    if whys := [
        "sent " * sent + f"{why} {count}"
        for sent in reasons
        for why, count in sorted(reasons[sent].items())
    ]:
        printed += _wrapped(f"unresolved: {', '.join(whys)}")
    for fault in missed[:10]:
        printed += _wrapped(f"MISSED {fault}")
    return printed


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def main(argv: Sequence[str] | None = None) -> int:
    """Live the days, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.days",
        description="Bad days at the default settings, each held against the exchange's own log.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to run (default: all)")
    parser.add_argument(
        "--seed",
        type=int,
        default=SEED,
        metavar="N",
        help="what is random comes from it (default: %(default)s)",
    )
    parser.add_argument(
        "--list", action="store_true", help="name the rows and what is right, and run none"
    )
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in ROWS]
    if unknown:
        parser.error(f"NAME must be one of {', '.join(ROWS)}; got {', '.join(unknown)}")
    rows = [ROWS[name] for name in arguments.names] or list(ROWS.values())
    if arguments.list:
        for row in rows:
            print(f"{row.name:<21}{row.right}")
        return 0
    print(f"seed {arguments.seed}; sent, not sent: unresolved ones")
    print(_FORM.format(*_COLUMNS).rstrip())
    count = 0
    for row in rows:
        day = row.run(arguments.seed)
        missed = row.missed(day)
        count += bool(missed)
        print("\n".join(lines(row, day, missed)), flush=True)
    print(
        f"{count} of {len(rows)} days were missed." if count else f"All {len(rows)} days were kept."
    )
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
