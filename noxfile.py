"""The checks beyond the tests, each in an environment of its own: `nox` runs all, `nox -s types` one of them.

An environment is kept for the next run; `nox --no-reuse-existing-virtualenvs` makes it anew.
"""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree

import nox

nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, *what: str) -> None:
    """Install as pip does, with a pip that knows dependency groups."""
    session.install("pip>=25.1")
    session.install(*what)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    install(session, "--group", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy and pyright, both strict, and whether every public name has a type."""
    install(session, "-e", ".", "--group", "types")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "bitget_proto")


@nox.session(python=["3.12", "3.13"], default=False)
def interpreter(session: nox.Session) -> None:
    """The core's quick tests on another interpreter. Its warnings are errors."""
    install(session, "-e", ".[test]")
    session.run("pytest", "-n", "4", "-q", "tests/bitget_proto")


@nox.session
def docs(session: nox.Session) -> None:
    """The docs as a site, in `docs/_build`. A warning, or a link that leads nowhere, is an error."""
    install(session, "-e", ".", "--group", "docs")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-n", "docs", "docs/_build")


@nox.session
def package(session: nox.Session) -> None:
    """Build both archives, check them, and use the wheel alone and with each extra.

    `nox -s package -- lowest` runs the tests with the lowest version of each dependency instead.
    """
    install(session, "--group", "package")
    if session.posargs == ["lowest"]:
        constraints = Path(session.create_tmp(), "lowest.txt")
        listed = session.run("python", "-m", "tests.package.bounds", silent=True)
        constraints.write_text(str(listed), "utf-8")
        session.install("-e", ".[test]", "--constraint", str(constraints))
        session.run("pytest", "-n", "4", "-q", "tests/bitget_proto", "tests/bitget_transports")
        return
    dist = Path(session.create_tmp(), "dist")
    rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    archives = [str(path) for path in sorted(dist.iterdir())]
    session.run("python", "-m", "tests.package.contents", *archives)
    session.run("twine", "check", "--strict", *archives)
    session.run("validate-pyproject", "pyproject.toml")
    (wheel,) = dist.glob("*.whl")
    session.run("check-wheel-contents", str(wheel))
    session.install("--force-reinstall", str(wheel))
    session.run("python", "-m", "tests.package.extras", str(wheel))


@nox.session
def slow(session: nox.Session) -> None:
    """What the quick tests leave out: slow tests, the libraries of others, bad days, and the examples.

    `nox -s slow -- --ignore=tests/bitget_proto` leaves the slow tests of the core to `.ci/run`.
    """
    install(session, "-e", ".[test]", "--group", "bench", "--group", "examples")
    others = ("tests/examples", "tests/bitget_transports/test_byo.py", "tests/test_benchmarks.py")
    session.run("pytest", "-n", "4", "-q", *others)
    session.run("pytest", "-n", "8", "-q", "-m", "slow", *session.posargs)  # they mostly wait
    session.run("python", "-W", "error", "-m", "tests.chaos.days")
    for example in sorted(Path("examples").glob("*.py")):
        if example.stem == "on_glib":  # has a session of its own
            continue
        session.run("python", "-W", "error", str(example), silent=True)


@nox.session(python="/usr/bin/python3", venv_params=["--system-site-packages"])
def glib(session: nox.Session) -> None:
    """The example on GLib's loop, with the system's Python, where Debian's python3-gi is installed."""
    found = "import sys; from importlib.util import find_spec; print(sys.version_info >= (3, 11) and bool(find_spec('gi')))"
    if "True" not in str(session.run("python", "-c", found, silent=True)):
        session.skip("the system's Python is too old, or has no gi: apt-get install python3-gi")
    install(session, "-e", ".[test]")
    session.run("pytest", "-n", "2", "-q", "-m", "", "-k", "on_glib", "tests/examples")
