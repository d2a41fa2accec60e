"""`python -m tests.package.contents dist/*`: compare the files in the archives with those in git.

The archives are a wheel and a source archive. The page on the package index, which is in the wheel,
must have no relative links.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from zipfile import ZipFile

PACKAGES = {
    "src/bitget_proto/": "bitget_proto/",
    "src/transports/bitget_transports/": "bitget_transports/",
}
"""The folders of the import packages in the repository and in a wheel."""

_WHEEL = ("bitget_proto/py.typed", "bitget_transports/py.typed")
_ABOUT = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")

_SDIST_FOLDERS = ("src", "tests", "docs", "benchmarks", "examples")
_SDIST_FILES = (
    "conftest.py", "noxfile.py", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "pyproject.toml",
    ".gitignore",
)  # fmt: skip


def faults_of_wheel(names: Iterable[str], tracked: Iterable[str]) -> Iterator[str]:
    """Yield the faults of a wheel with these file names; `tracked` are the files in git."""
    held = set(names)
    about = {name for name in held if name.partition("/")[0].endswith(".dist-info")}
    places = {name.partition("/")[0] for name in about}
    if len(places) != 1:
        yield f"{len(places)} .dist-info folders instead of one"
    wanted = {
        home + file.removeprefix(lies)
        for file in tracked
        for lies, home in PACKAGES.items()
        if file.startswith(lies)
    }
    yield from _differences(held - about, wanted | set(_WHEEL))
    yield from _differences({name.partition("/")[2] for name in about}, set(_ABOUT))


def faults_of_sdist(names: Iterable[str], tracked: Iterable[str]) -> Iterator[str]:
    """Yield the faults of a source archive with these names, without its top folder."""
    held = set(names)
    files = {
        file for file in tracked if file in _SDIST_FILES or file.partition("/")[0] in _SDIST_FOLDERS
    }
    for folder in _SDIST_FOLDERS:
        if not any(name.startswith(f"{folder}/") for name in held):
            yield f"{folder}/ is missing"
    yield from _differences(held, files | {*_SDIST_FILES, "PKG-INFO"})


def faults_of_page(text: str) -> Iterator[str]:
    """Yield the links and pictures of a Markdown page that lead nowhere outside the repository."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(("https://", "#")):
            yield f"the page has the relative link {link}"


def _differences(held: set[str], wanted: set[str]) -> Iterator[str]:
    for name in sorted(wanted - held):
        yield f"{name} is missing"
    for name in sorted(held - wanted):
        yield f"{name} is not expected: it is not tracked in git"


def main(archives: Iterable[str]) -> int:
    """Print the faults of the archives; return the exit status."""
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    faults: list[str] = []
    for path in archives:
        if path.endswith(".whl"):
            with ZipFile(path) as wheel:
                names = wheel.namelist()
                (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
                page = wheel.read(about).decode("utf-8")
            faults_here = [*faults_of_wheel(names, tracked), *faults_of_page(page)]
        else:
            with tarfile.open(path) as archive:
                files = [member.name for member in archive.getmembers() if member.isfile()]
            faults_here = list(faults_of_sdist([file.partition("/")[2] for file in files], tracked))
        faults += [f"{path}: {fault}" for fault in faults_here]
    print("\n".join(faults) or "The archives have the expected files.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
