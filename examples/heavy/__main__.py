"""`python -m heavy`, in `examples/`: plays every scenario of the conformance kit with each of these drivers; prints a table.

With `--write` the table takes its place in docs/conformance.md. It ends as a test runner does: 0 when every rule was kept, 1
when one was broken, 2 when a library is not installed.
"""

import argparse
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path

from bitget_proto.testing import Report, Result, check_driver

DRIVERS = {
    "on_tornado": ("tornado",),
    "on_twisted": ("twisted", "autobahn"),
    "on_gevent": ("gevent", "websockets"),
    "on_qt": ("PySide6-Addons",),
}
"""The drivers, and what they stand on."""

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
COMMAND = "python -m heavy --write"
PART = re.compile(
    f"(?<=<!-- heavy: made by {COMMAND} -->\n\n).*?(?=\n<!-- end of heavy -->)", re.DOTALL
)


def table(reports: dict[str, Report]) -> str:
    """What came of it, with the day and the versions."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()} on {platform.system()}:",
        "",
    ]
    lines += ["| Example | Versions | Kept | Broken | Not played |", "|---|---|---|---|---|"]
    for name, report in reports.items():
        versions = ", ".join(f"{library} {version(library)}" for library in DRIVERS[name])
        kept = f"{sum(result.kept for result in report.results)} of {len(report.results)}"
        broken = (
            ", ".join(result.scenario.name for result in report.results if result.breaks) or "-"
        )
        left = (
            ", ".join(result.scenario.name for result in report.results if result.not_played) or "-"
        )
        lines.append(f"| `examples/heavy/{name}.py` | {versions} | {kept} | {broken} | {left} |")
    return "\n".join(lines) + "\n"


def played(name: str) -> Report:
    """Play all scenarios with a driver, and show how far it is."""
    number = count(1)

    def tell(result: Result) -> None:
        if sys.stderr.isatty():
            print(
                f"\r{name}: scenario {next(number)}, {result.scenario.name}\x1b[K",
                end="",
                file=sys.stderr,
            )

    report = check_driver(import_module(f"heavy.{name}").make_driver, tell=tell)
    print(
        ("\r\x1b[K" if sys.stderr.isatty() else "") + f"{name}: {report.summary}", file=sys.stderr
    )
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m heavy",
        description="Play the conformance kit with the drivers on heavy frameworks.",
    )
    parser.add_argument("driver", nargs="*", help=f"play with these only, of {', '.join(DRIVERS)}")
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/conformance.md"
    )
    given = parser.parse_args(arguments)
    if strangers := set(given.driver) - set(DRIVERS):
        parser.error(f"there is no driver {min(strangers)!r}: one of {', '.join(DRIVERS)}")
    if given.write and given.driver:
        parser.error("the page has room for all of them: --write takes no names")
    try:
        reports = {name: played(name) for name in given.driver or DRIVERS}
    except ImportError as error:
        print(
            f"error: {error}: python -m pip install -e . --group heavy brings what is needed",
            file=sys.stderr,
        )
        return 2
    print(table(reports), end="")
    for report in reports.values():
        for result in report.results:
            if result.breaks:
                print(f"\n{result}")
    if given.write:
        page, written = PART.subn(lambda _: table(reports), PAGE.read_text("utf-8"))
        assert written == 1, f"{PAGE} has no place for the table"
        PAGE.write_text(page, "utf-8")
    return 0 if all(report.kept for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
