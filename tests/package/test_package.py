"""What `nox -s package` concludes from file names and bounds; what it installs and runs is tried by the session itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.package.bounds import constraints, extras, lowest, requirements
from tests.package.contents import faults_of_sdist, faults_of_wheel
from tests.package.smoke import ALONE, TRANSPORTS

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]

TRACKED = [
    "src/bitget_proto/py.typed", "src/bitget_proto/_values/orders.py",
    "src/transports/bitget_transports/py.typed", "conftest.py", "noxfile.py",
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "pyproject.toml", ".gitignore", ".ci/run",
    *(f"{folder}/some.py" for folder in ("tests", "docs", "benchmarks", "examples")),
]  # fmt: skip
WHEEL = [
    "bitget_proto/py.typed", "bitget_proto/_values/orders.py", "bitget_transports/py.typed",
    *(f"x.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")),
]  # fmt: skip
SDIST = [*(name for name in TRACKED if name != ".ci/run"), "PKG-INFO"]


def test_archives_that_hold_what_they_should_have_no_fault() -> None:
    assert list(faults_of_wheel(WHEEL, TRACKED)) == []
    assert list(faults_of_sdist(SDIST, TRACKED)) == []


@pytest.mark.parametrize("name", WHEEL)
def test_whatever_a_wheel_lacks_is_named(name: str) -> None:
    faults = list(faults_of_wheel([kept for kept in WHEEL if kept != name], TRACKED))
    assert faults == [f"{name.removeprefix('x.dist-info/')} is missing"]


@pytest.mark.parametrize(
    "name", ["tests/some.py", "bitget_proto/left.orig", "transports/bitget_transports/py.typed"]
)
def test_a_stray_in_a_wheel_is_named(name: str) -> None:
    (fault,) = faults_of_wheel([*WHEEL, name], TRACKED)
    assert fault.startswith(f"{name} is a stray")


@pytest.mark.parametrize("name", SDIST)
def test_whatever_a_source_archive_lacks_is_named(name: str) -> None:
    assert f"{name} is missing" in list(
        faults_of_sdist([kept for kept in SDIST if kept != name], TRACKED)
    )


def test_a_stray_in_a_source_archive_is_named() -> None:
    (fault,) = faults_of_sdist([*SDIST, "docs/_build/index.html"], TRACKED)
    assert fault.startswith("docs/_build/index.html is a stray")


def test_every_dependency_has_one_lowest_version_and_becomes_a_constraint() -> None:
    bounds = lowest(requirements(PROJECT))
    assert {
        "attrs",
        "cattrs",
        "anyio",
        "httpx-ws",
        "trio",
        "websockets",
        "uvloop",
        "pytest",
    } <= set(bounds)
    assert "bitget-proto" not in bounds
    assert f"attrs=={bounds['attrs']}\n" in constraints(bounds)


def test_an_upper_bound_is_no_lower_one() -> None:
    assert lowest([Requirement("httpx-ws>=0.9,<0.10"), Requirement("HTTPX_WS>=0.9")]) == {
        "httpx-ws": "0.9"
    }


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["rich"], "needs one lower bound"),
        (["rich<15"], "has 0"),
        (["rich>=14", "rich>=15"], "two lower bounds"),
    ],
)
def test_a_bound_that_cannot_be_tested_is_refused(wanted: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lowest(map(Requirement, wanted))


def test_every_extra_of_users_is_tried() -> None:
    assert set(extras(PROJECT)) == {*TRANSPORTS, *ALONE, "exchange", "all"} - {"core"}


@pytest.mark.parametrize("name", ["msgspec", "orjson", "rsa"])
def test_a_smoke_that_needs_nobody_passes_here(name: str) -> None:
    ALONE[name]()
