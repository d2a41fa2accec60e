"""Checks a driver: `python -m bitget_proto.testing mypackage:make_driver`.

With `--session`, it checks a driver of a `Session`.

Plays the conformance kit. Prints one line per scenario as it is played, then the rules that were
broken. Needs only the standard library. Exits with 0 when every rule was kept, 1 when one was
broken, and 2 when the driver could not be imported or an argument was invalid.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ..__main__ import PIPE_CLOSED, _silence
from .._values.errors import ValidationError
from ._kit.driver_thread import raised_at
from ._kit.report import Result
from ._kit.runner import (
    PATIENCE,
    SCENARIOS,
    SESSION_SCENARIOS,
    check_driver,
    check_session_driver,
)
from ._kit.scenario import Scenario

_BROKEN, _FAILED = 1, 2

_EXAMPLES = """\
examples:
  python -m bitget_proto.testing mypackage:make_driver
  python -m bitget_proto.testing mypackage.drivers:make --scenario gap --scenario flood --steps
  python -m bitget_proto.testing --session mypackage:make_session_driver
  python -m bitget_proto.testing --list

make_driver(connection, url) returns an object with run(), which dials the URL and blocks until the
connection is Closed, and call(fn), which runs fn(connection, now) in the thread of run() and then
drains. Any login is accepted. With --session it is make_session_driver(session, url): run() drives
the session, dials the URL for each Dial and blocks until the session is Ended, and call(fn) runs
fn(session, now).

exit codes: 0 when every rule was kept, 1 when one was broken, 2 when make_driver could not be
imported or an argument was invalid
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        return _run(arguments)
    except BrokenPipeError:  # the reader of our output has closed it
        _silence()
        return PIPE_CLOSED


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bitget_proto.testing",
        description="Play the conformance kit's scenarios with a driver and report the rules it breaks.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "make_driver",
        nargs="?",
        metavar="MODULE:MAKE_DRIVER",
        help="the function that makes the driver (see below)",
    )
    parser.add_argument(
        "--session",
        action="store_true",
        help="the driver drives a Session; the scenarios include those with several links",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        help="play only this scenario; may be repeated",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how late the driver may act (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        action="store_true",
        help="show what the driver did in each broken scenario",
    )
    parser.add_argument(
        "--main-thread",
        action="store_true",
        help="run the driver in the main thread, as Tk and Qt require",
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(_scenario_table(SESSION_SCENARIOS if given.session else SCENARIOS)))
        return 0
    if given.make_driver is None:
        parser.error("MODULE:MAKE_DRIVER is required")
    if not 0 < given.patience < float("inf"):
        parser.error(f"--patience must be a number of seconds above 0; got {given.patience}")
    try:
        make_driver = _load(given.make_driver)
        check = check_session_driver if given.session else check_driver
        report = check(
            make_driver,
            given.scenario,
            patience=given.patience,
            tell=_print_result,
            main_thread=given.main_thread,
        )
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
    """The named function cannot be imported."""


def _load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _NotFound(f"the driver must be named as MODULE:MAKE_DRIVER; got {name!r}")
    if "/" in module or "\\" in module:
        raise _NotFound(
            f"{name!r} is a file path: use the module's name, as in mypackage.drivers:make"
        )
    try:
        found: object = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise _NotFound(f"{name!r} cannot be imported: {error}{_suggestion(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing may raise anything
        what = f"{type(error).__name__}: {error}{raised_at(error)}"
        raise _NotFound(f"{name!r} cannot be imported: {what}") from None
    if not callable(found):
        raise _NotFound(
            f"{name!r} is not callable: it must take a connection (with --session, a session) and a URL, and return a driver"
        )
    return found


def _suggestion(error: ImportError | AttributeError) -> str:
    known = dir(error.obj) if isinstance(error, AttributeError) else ()
    like = get_close_matches(error.name or "", known, n=1)
    return f"; did you mean {like[0]!r}?" if like else ""


def _scenario_table(scenarios: Sequence[Scenario]) -> list[str]:
    rules = max(len(one.rule.value) for one in scenarios)
    width = max(len(one.name) for one in scenarios)
    return [f"{one.name:<{width}}  {one.rule.value:<{rules}}  {one.tells}" for one in scenarios]


def _print_result(result: Result) -> None:
    width = max(len(scenario.name) for scenario in SESSION_SCENARIOS)
    verdict = "kept" if result.kept else "not played" if result.not_played else "BROKEN"
    rule = result.scenario.rule if result.broken is None else result.broken
    why = f"  {result.not_played}" if result.not_played else ""
    print(
        f"{result.scenario.name:<{width}}  {verdict:<10}  {rule.value:<9}  {result.seconds * 1000:5.0f} ms{why}",
        flush=True,
    )


if __name__ == "__main__":  # pragma: no cover - the tests call `main`
    sys.exit(main())
