"""The lowest version of each dependency, as `pyproject.toml` names it.

Rules of this file
- What has no lower bound, or two different ones, is an error: there would be nothing to test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DEVELOPERS = frozenset(
    {"test", "lint", "docs", "fuzz", "bench", "examples", "heavy", "mutation", "peers"}
)
"""The extras that no user installs."""


def extras(project: Mapping[str, Any]) -> list[str]:
    """The users' extras of a `[project]` table, in its order."""
    return [extra for extra in project["optional-dependencies"] if extra not in DEVELOPERS]


def requirements(project: Mapping[str, Any]) -> Iterator[Requirement]:
    """What users can come to depend on, and what the tests are run with; without the project itself."""
    lines: list[str] = list(project["dependencies"])
    for extra in (*extras(project), "test"):
        lines += project["optional-dependencies"][extra]
    own = canonicalize_name(project["name"])
    return (found for found in map(Requirement, lines) if canonicalize_name(found.name) != own)


def lowest(wanted: Iterable[Requirement]) -> dict[str, str]:
    """The lower bound of each, by its name.

    Raises: ValueError for one that has none, or two.
    """
    bounds: dict[str, str] = {}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        lower = [part.version for part in requirement.specifier if part.operator == ">="]
        if len(lower) != 1:
            raise ValueError(f"{requirement} needs one lower bound (>=), and has {len(lower)}")
        if bounds.setdefault(name, lower[0]) != lower[0]:
            raise ValueError(f"{name} has two lower bounds, {bounds[name]} and {lower[0]}")
    return bounds


def constraints(bounds: Mapping[str, str]) -> str:
    """The same as a constraints file of pip's."""
    return "".join(f"{name}=={version}\n" for name, version in bounds.items())
