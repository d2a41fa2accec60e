"""`python -m heavy`, in `examples/`: runs the conformance kit on each of these drivers.

It prints a table; `--write` also writes it into docs/conformance.md. The exit code is 0 when every
rule was kept, 1 when one was broken, and 2 when a library is not installed.
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
"""The drivers, and the distributions that they need."""

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
COMMAND = "python -m heavy --write"
PART = re.compile(
    f"(?<=<!-- heavy: made by {COMMAND} -->\n\n).*?(?=\n<!-- end of heavy -->)", re.DOTALL
)


def table(reports: dict[str, Report]) -> str:
    """Return the table of results, with the date and the versions."""
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
    """Play all scenarios with a driver, showing the progress."""
    number = count(1)

    def show(result: Result) -> None:
        if sys.stderr.isatty():
            print(
                f"\r{name}: scenario {next(number)}, {result.scenario.name}\x1b[K",
                end="",
                file=sys.stderr,
            )

    report = check_driver(import_module(f"heavy.{name}").make_driver, tell=show)
    print(
        ("\r\x1b[K" if sys.stderr.isatty() else "") + f"{name}: {report.summary}", file=sys.stderr
    )
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m heavy",
        description="Run the conformance kit on the drivers for large frameworks.",
    )
    parser.add_argument(
        "driver", nargs="*", help=f"run only these drivers, of {', '.join(DRIVERS)} (default: all)"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/conformance.md"
    )
    given = parser.parse_args(arguments)
    if unknown := set(given.driver) - set(DRIVERS):
        parser.error(f"driver must be one of {', '.join(DRIVERS)}; got {min(unknown)!r}")
    if given.write and given.driver:
        parser.error("--write needs the results of all drivers: leave the names out")
    try:
        reports = {name: played(name) for name in given.driver or DRIVERS}
    except ImportError as error:
        print(
            f"error: {error}: run python -m pip install -e . --group heavy",
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
