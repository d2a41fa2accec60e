"""`python -m tests.package.bounds`: print the lowest version of each dependency as constraints.

The bounds come from `pyproject.toml`. A dependency without a lower bound, or with two different
ones, is an error, because there is no single lowest version to test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def extras(project: Mapping[str, Any]) -> list[str]:
    """Return the extras for users in a `[project]` table, in its order: all except `test`."""
    return [extra for extra in project["optional-dependencies"] if extra != "test"]


def requirements(project: Mapping[str, Any]) -> Iterator[Requirement]:
    """Return the requirements of users and of the tests, without the project itself."""
    lines: list[str] = list(project["dependencies"])
    for extra in (*extras(project), "test"):
        lines += project["optional-dependencies"][extra]
    own = canonicalize_name(project["name"])
    return (found for found in map(Requirement, lines) if canonicalize_name(found.name) != own)


def lowest(wanted: Iterable[Requirement]) -> dict[str, str]:
    """Return the lower bound of each requirement, by its name.

    Raises: ValueError for a requirement without a lower bound or with two.
    """
    bounds: dict[str, str] = {}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        lower = [part.version for part in requirement.specifier if part.operator == ">="]
        if len(lower) != 1:
            raise ValueError(f"{requirement} must have one lower bound (>=); got {len(lower)}")
        if bounds.setdefault(name, lower[0]) != lower[0]:
            raise ValueError(f"{name} has two lower bounds, {bounds[name]} and {lower[0]}")
    return bounds


def constraints(bounds: Mapping[str, str]) -> str:
    """Return the bounds as a constraints file for pip."""
    return "".join(f"{name}=={version}\n" for name, version in bounds.items())


if __name__ == "__main__":
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    print(constraints(lowest(requirements(tomllib.loads(text)["project"]))), end="")
