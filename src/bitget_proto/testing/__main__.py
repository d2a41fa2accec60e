"""`python -m bitget_proto.testing mypackage:make_driver`: does somebody's driver keep the driver contract?

Rules of this file
- It prints one line for each scenario as it is played, then what was broken; nothing but the standard library is needed.
- It ends as a test runner does: 0 when every rule was kept, 1 when one was broken, 2 when it could not do what was asked.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import cast

from ..__main__ import PIPE_CLOSED, _silence
from .._values.errors import ValidationError
from ._kit.harness import MakeDriver, raised_at
from ._kit.report import Result
from ._kit.runner import PATIENCE, SCENARIOS, check_driver

_BROKEN, _FAILED = 1, 2

_EXAMPLES = """\
examples:
  python -m bitget_proto.testing mypackage:make_driver
  python -m bitget_proto.testing mypackage.drivers:make --scenario gap --scenario flood --steps
  python -m bitget_proto.testing --list

make_driver(connection, url) returns an object with run(), which dials the URL and blocks until the connection is Closed, and
call(fn), which runs fn(connection, now) in the thread of run() and then drains. Any login is accepted.

exit codes: 0 when every rule was kept, 1 when one was broken, 2 when what makes the driver could not be found
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    try:
        return _run(arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        _silence()
        return PIPE_CLOSED


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bitget_proto.testing",
        description="Plays the conformance kit's scenarios with a driver, and names the rules of the driver contract it broke.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "make_driver", nargs="?", metavar="MODULE:MAKE_DRIVER", help="what makes the driver (below)"
    )
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="play this one only; may be repeated"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how late anything may be (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        action="store_true",
        help="show what the driver did in each scenario that was broken",
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios, and play none")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(_listed()))
        return 0
    if given.make_driver is None:
        parser.error("name the driver, as MODULE:MAKE_DRIVER")
    if not 0 < given.patience < float("inf"):
        parser.error(f"--patience must be a number of seconds above 0; got {given.patience}")
    try:
        make_driver = _found(given.make_driver)
        report = check_driver(make_driver, given.scenario, patience=given.patience, tell=_tell)
    except (_NotFound, ValidationError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _FAILED
    for result in report.results:
        if result.breaks:
            print(f"\n{result}")
            if given.steps:
                print(f"  The steps:\n{result.story()}")
    print(f"\n{report.summary}")
    return 0 if report.kept else _BROKEN


class _NotFound(Exception):
    """What was named is not there."""


def _found(name: str) -> MakeDriver:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _NotFound(f"the driver must be named as in mypackage:make_driver; got {name!r}")
    if "/" in module or "\\" in module:
        raise _NotFound(
            f"{name!r} names a file: name the module as Python imports it, as in mypackage.drivers:make"
        )
    try:
        found: object = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise _NotFound(f"{name!r} cannot be imported: {error}{_like(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a module of somebody else's does
        what = f"{type(error).__name__}: {error}{raised_at(error)}"
        raise _NotFound(f"{name!r} cannot be imported: {what}") from None
    if not callable(found):
        raise _NotFound(
            f"{name!r} is not callable: it must make a driver for a connection and a URL"
        )
    return cast("MakeDriver", found)


def _like(error: ImportError | AttributeError) -> str:
    known = dir(error.obj) if isinstance(error, AttributeError) else ()
    like = get_close_matches(error.name or "", known, n=1)
    return f"; did you mean {like[0]!r}?" if like else ""


def _listed() -> list[str]:
    width = max(len(scenario.name) for scenario in SCENARIOS)
    rules = max(len(scenario.rule.value) for scenario in SCENARIOS)
    return [f"{one.name:<{width}}  {one.rule.value:<{rules}}  {one.tells}" for one in SCENARIOS]


def _tell(result: Result) -> None:
    width = max(len(scenario.name) for scenario in SCENARIOS)
    verdict = "kept" if result.kept else "not played" if result.not_played else "BROKEN"
    rule = result.scenario.rule if result.broken is None else result.broken
    print(
        f"{result.scenario.name:<{width}}  {verdict:<10}  {rule.value:<9}  {result.seconds * 1000:5.0f} ms",
        flush=True,
    )


if __name__ == "__main__":  # pragma: no cover - the tests call `main`
    sys.exit(main())
