"""The checks of `nox -s package` on file names and version bounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.package.bounds import constraints, extras, lowest, requirements
from tests.package.contents import faults_of_page, faults_of_sdist, faults_of_wheel
from tests.package.groups import TRIES
from tests.package.smoke import ALONE, TRANSPORTS

SETTINGS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]

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


def test_complete_archives_have_no_faults() -> None:
    assert list(faults_of_wheel(WHEEL, TRACKED)) == []
    assert list(faults_of_sdist(SDIST, TRACKED)) == []


@pytest.mark.parametrize("name", WHEEL)
def test_a_file_missing_from_a_wheel_is_reported(name: str) -> None:
    faults = list(faults_of_wheel([kept for kept in WHEEL if kept != name], TRACKED))
    assert faults == [f"{name.removeprefix('x.dist-info/')} is missing"]


@pytest.mark.parametrize(
    "name", ["tests/some.py", "bitget_proto/left.orig", "transports/bitget_transports/py.typed"]
)
def test_an_extra_file_in_a_wheel_is_reported(name: str) -> None:
    (fault,) = faults_of_wheel([*WHEEL, name], TRACKED)
    assert fault.startswith(f"{name} is not expected")


@pytest.mark.parametrize("name", SDIST)
def test_a_file_missing_from_a_source_archive_is_reported(name: str) -> None:
    assert f"{name} is missing" in list(
        faults_of_sdist([kept for kept in SDIST if kept != name], TRACKED)
    )


def test_an_extra_file_in_a_source_archive_is_reported() -> None:
    (fault,) = faults_of_sdist([*SDIST, "docs/_build/index.html"], TRACKED)
    assert fault.startswith("docs/_build/index.html is not expected")


def page() -> str:
    """README as the package index gets it."""
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for change in SETTINGS["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"][
        "substitutions"
    ]:
        text = re.sub(change["pattern"], change["replacement"], text)
    return text


def test_the_page_on_the_package_index_has_no_relative_links() -> None:
    assert list(faults_of_page(page())) == []


def test_every_link_of_that_page_into_the_repository_has_a_file() -> None:
    places = re.findall(
        r"\]\(https://[^)]*/bitget-proto/(?:blob/)?v\$HFPR_VERSION/([^)#]+)", page()
    )
    assert len(places) > 10
    assert [place for place in places if not (Path(__file__).parents[2] / place).exists()] == []


def test_a_relative_link_on_that_page_is_reported() -> None:
    text = "![demo](docs/demo.svg) [docs](docs/index.md) [here](#here) [there](https://x.example)"
    assert [fault.rpartition(" ")[2] for fault in faults_of_page(text)] == [
        "docs/demo.svg",
        "docs/index.md",
    ]


def test_every_dependency_has_one_lowest_version_as_constraint() -> None:
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


def test_an_upper_bound_is_not_a_lower_bound() -> None:
    assert lowest([Requirement("httpx-ws>=0.9,<0.10"), Requirement("HTTPX_WS>=0.9")]) == {
        "httpx-ws": "0.9"
    }


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["rich"], "must have one lower bound"),
        (["rich<15"], "got 0"),
        (["rich>=14", "rich>=15"], "two lower bounds"),
    ],
)
def test_a_missing_or_ambiguous_lower_bound_is_refused(wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lowest(map(Requirement, wanted))


def test_every_extra_for_users_has_a_smoke_test() -> None:
    assert set(extras(PROJECT)) == {*TRANSPORTS, *ALONE, "exchange", "all"} - {"core"}


def test_every_group_for_developers_is_tried_alone() -> None:
    assert set(TRIES) == {*SETTINGS["dependency-groups"], "test"}


@pytest.mark.parametrize("name", ["msgspec", "orjson", "rsa", "redis", "rest"])
def test_a_smoke_test_without_an_exchange_passes_here(name: str) -> None:
    ALONE[name]()
