"""Compare the files in a wheel and a source archive with those in git: `python -m tests.package.contents dist/*`."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from zipfile import ZipFile

PACKAGES = {
    "src/bitget_proto/": "bitget_proto/",
    "src/transports/bitget_transports/": "bitget_transports/",
}
"""Where the import packages lie in the repository, and where in a wheel."""

_WHEEL = ("bitget_proto/py.typed", "bitget_transports/py.typed")
_ABOUT = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")

_SDIST_FOLDERS = ("src", "tests", "docs", "benchmarks", "examples")
_SDIST_FILES = (
    "conftest.py", "noxfile.py", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "pyproject.toml",
    ".gitignore",
)  # fmt: skip


def faults_of_wheel(names: Iterable[str], tracked: Iterable[str]) -> Iterator[str]:
    """What is wrong with a wheel of these names, in a repository that keeps these files."""
    held = set(names)
    about = {name for name in held if name.partition("/")[0].endswith(".dist-info")}
    places = {name.partition("/")[0] for name in about}
    if len(places) != 1:
        yield f"it has {len(places)} folders .dist-info"
    wanted = {
        home + file.removeprefix(lies)
        for file in tracked
        for lies, home in PACKAGES.items()
        if file.startswith(lies)
    }
    yield from _differences(held - about, wanted | set(_WHEEL))
    yield from _differences({name.partition("/")[2] for name in about}, set(_ABOUT))


def faults_of_sdist(names: Iterable[str], tracked: Iterable[str]) -> Iterator[str]:
    """What is wrong with a source archive of these names, without its outermost folder."""
    held = set(names)
    files = {
        file for file in tracked if file in _SDIST_FILES or file.partition("/")[0] in _SDIST_FOLDERS
    }
    for folder in _SDIST_FOLDERS:
        if not any(name.startswith(f"{folder}/") for name in held):
            yield f"{folder}/ is missing"
    yield from _differences(held, files | {*_SDIST_FILES, "PKG-INFO"})


def _differences(held: set[str], wanted: set[str]) -> Iterator[str]:
    for name in sorted(wanted - held):
        yield f"{name} is missing"
    for name in sorted(held - wanted):
        yield f"{name} is a stray: the repository does not keep it there"


def main(archives: Iterable[str]) -> int:
    """Print what is wrong with these archives; the exit status."""
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    faults: list[str] = []
    for path in archives:
        if path.endswith(".whl"):
            found = faults_of_wheel(ZipFile(path).namelist(), tracked)
        else:
            with tarfile.open(path) as archive:
                files = [member.name for member in archive.getmembers() if member.isfile()]
            found = faults_of_sdist([file.partition("/")[2] for file in files], tracked)
        faults += [f"{path}: {fault}" for fault in found]
    print("\n".join(faults) or "Both archives hold what they should.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
