"""`python -m release`: builds wheel and source archive, and tries them as those who install them will.

Four steps, each in empty environments and with what was just built: `contents` looks into both archives and installs each;
`extras` installs each extra alone and does what it is for; `lowest` and `highest` run the tests of core and transports with
the lowest versions that `pyproject.toml` names, and with the newest. Needs a package index, and minutes.

Rules of this file
- What was not tried is not in the table. The exit status is 1 when anything failed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from zipfile import ZipFile

from release.bounds import constraints, extras, lowest, requirements
from release.contents import faults_of_sdist, faults_of_wheel
from release.environment import Environment, Failed, run
from release.smoke import ALONE, TRANSPORTS

ROOT = Path(__file__).parents[1]
SMOKE = Path(__file__).with_name("smoke.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

_TESTS = ("tests/bitget_proto", "tests/bitget_transports")
_FIRST_ORDER = 1000001


class Release:
    """What was built, and a folder to try it in."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python, self._numbers = folder, python, count(1)
        run(sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT, at=folder)
        (self.wheel,), (self.sdist,) = (
            list((folder / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz")
        )

    def contents(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Both archives hold what they should, and work alone."""
        yield (
            "the wheel's files",
            lambda: self._files(ZipFile(self.wheel).namelist(), faults_of_wheel),
        )
        yield (
            "the source archive's files",
            lambda: self._files(self._unpacked()[1], faults_of_sdist),
        )
        yield "the wheel alone", lambda: self._alone(self.wheel)
        yield "the source archive alone", lambda: self._alone(self.sdist)

    def extras(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Each extra alone does what it is for. The exchange serves those that cancel."""
        serving = self._environment("exchange")
        offered = extras(PROJECT)
        orders = {
            name: str(_FIRST_ORDER + at)
            for at, name in enumerate((*TRANSPORTS, *(f"all: {n}" for n in TRANSPORTS)))
        }
        command = [
            str(serving.python),
            "-I",
            "-W",
            "error",
            str(SMOKE),
            "exchange",
            *orders.values(),
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            try:
                url = server.stdout.readline().strip()
                for extra in offered:
                    if extra in TRANSPORTS:
                        yield (
                            f"extra {extra}",
                            partial(self._alone_cancels, extra, orders[extra], url),
                        )
                    elif extra in ALONE:
                        yield f"extra {extra}", partial(self._alone_does, extra)
                    elif extra == "all":
                        of_all = {name: orders[f"all: {name}"] for name in TRANSPORTS}
                        yield "extra all", partial(self._all, of_all, url)
                    elif extra != "exchange":
                        yield f"extra {extra}", lambda: _fail("release/smoke.py does not try it")
            finally:
                server.stdin.close()
                rest = server.stdout.read()
        cancelled: list[str] = json.loads(rest or "[]")

        def served() -> str:
            if sorted(cancelled) != sorted(orders.values()):
                _fail(
                    f"its log has the orders {cancelled}, and those that were cancelled are {list(orders.values())}"
                )
            return f"served; its log has the {len(cancelled)} cancels of the others"

        yield "extra exchange", served

    def lowest(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """The tests, with the lowest versions."""
        yield "the lowest versions", self._lowest

    def highest(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """The tests, with the newest versions."""
        yield "the newest versions", self._highest

    def _environment(
        self, extra: str = "", archive: Path | None = None, *options: str | Path
    ) -> Environment:
        made = Environment(self._folder / f"environment-{next(self._numbers)}", self._python)
        made.install(archive or self.wheel, extra, *options)
        return made

    def _files(
        self, names: Sequence[str], faults: Callable[[Sequence[str], Sequence[str]], Iterator[str]]
    ) -> str:
        tracked = run("git", "ls-files", at=ROOT).splitlines()
        if found := list(faults(names, tracked)):
            _fail("\n".join(found))
        return f"{len(names)} files, each where it belongs"

    def _unpacked(self) -> tuple[Path, list[str]]:
        """The source archive's tree, and the names of its files."""
        place = self._folder / f"tree-{next(self._numbers)}"
        with tarfile.open(self.sdist) as archive:
            archive.extractall(place, filter="data")
            names = [
                member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()
            ]
        (tree,) = place.iterdir()
        return tree, names

    def _alone(self, archive: Path) -> str:
        made = self._environment("", archive)
        made.program(SMOKE, "core")
        return "installed with " + ", ".join(
            f"{n} {v}" for n, v in made.versions().items() if n in ("attrs", "cattrs")
        )

    def _does(self, made: Environment, extra: str) -> str:
        made.program(SMOKE, extra)
        return (ALONE[extra].__doc__ or "does what it is for").partition("\n")[0].rstrip(".")

    def _alone_does(self, extra: str) -> str:
        return self._does(self._environment(extra), extra)

    def _alone_cancels(self, extra: str, order_id: str, url: str) -> str:
        return self._cancels(self._environment(extra), {extra: order_id}, url)

    def _cancels(self, made: Environment, orders: dict[str, str], url: str) -> str:
        for transport, order_id in orders.items():
            made.program(SMOKE, transport, url, order_id)
        return "logged in, and cancelled an order at the exchange of another environment"

    def _all(self, orders: dict[str, str], url: str) -> str:
        made = self._environment("all")
        self._cancels(made, orders, url)
        for name in ALONE:
            self._does(made, name)
        return "did all of the above"

    def _lowest(self) -> str:
        bounds = lowest(requirements(PROJECT))
        file = self._folder / "lowest.txt"
        file.write_text(constraints(bounds), "utf-8")
        made = self._environment("test", None, "--constraint", file)
        if absent := set(bounds) - set(made.versions()):
            _fail(f"these were not installed: {', '.join(sorted(absent))}")
        return self._tested(made, bounds)

    def _highest(self) -> str:
        wanted = {
            name: requirement
            for requirement in requirements(PROJECT)
            for name in lowest([requirement])
        }
        made = self._environment("test")
        bounded = {name for name, requirement in wanted.items() if len(requirement.specifier) > 1}
        if old := set(made.versions("--outdated")) & set(wanted) - bounded:
            _fail(f"of these there is a newer version: {', '.join(sorted(old))}")
        return self._tested(made, wanted)

    def _tested(self, made: Environment, names: Iterable[str]) -> str:
        result = made.tests(self._unpacked()[0], *_TESTS)
        versions = [
            f"{name} {version}" for name, version in made.versions().items() if name in set(names)
        ]
        return f"{result}; {', '.join(versions)}"


def _fail(why: str) -> str:
    raise Failed(why)


STEPS: dict[str, Callable[[Release], Iterator[tuple[str, Callable[[], str]]]]] = {
    "contents": Release.contents,
    "extras": Release.extras,
    "lowest": Release.lowest,
    "highest": Release.highest,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps, say how far it is, and print a table of what came of it; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m release", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("step", nargs="*", help=f"only these, of {', '.join(STEPS)} (default: all)")
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="the Python of the environments (default: this one)",
    )
    arguments = parser.parse_args(argv)
    if strangers := set(arguments.step) - set(STEPS):
        parser.error(f"there is no step {min(strangers)!r}: one of {', '.join(STEPS)}")
    rows: list[str] = []
    failed = 0
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        try:
            built = Release(Path(folder), arguments.python)
            version = run(
                arguments.python,
                "-c",
                "import platform; print(platform.python_version())",
                at=Path(folder),
            )
            for step in arguments.step or STEPS:
                for name, trial in STEPS[step](built):
                    began = time.monotonic()
                    print(f"{name} …", file=sys.stderr, flush=True)
                    try:
                        result = trial()
                    except Failed as error:
                        failed += 1
                        print(f"{name}: FAILED\n{error}", file=sys.stderr, flush=True)
                        result = "FAILED"
                    rows.append(f"| {name} | {result} |")
                    print(
                        f"{name}: {result} ({time.monotonic() - began:.0f} s)",
                        file=sys.stderr,
                        flush=True,
                    )
        except Failed as error:
            print(f"FAILED\n{error}", file=sys.stderr)
            return 1
    print(f"{time.strftime('%Y-%m-%d')}, Python {version.strip()} on {platform.system()}:\n")
    print("\n".join(["| tried | what came of it |", "|---|---|", *rows]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
