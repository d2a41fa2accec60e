"""An empty virtual environment, and what is run in it.

Rules of this file
- A program is run in isolation (`-I`) and away from the repository: it finds what is installed, and nothing else.
- What fails says all that it printed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Failed(Exception):
    """A step of the release failed; the text is what to show."""


def run(*command: str | Path, at: Path, environ: Mapping[str, str] | None = None) -> str:
    """What a command printed.

    Raises: Failed when it ends with another status than 0.
    """
    done = subprocess.run(command, cwd=at, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise Failed(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{said}")
    return done.stdout


class Environment:
    """One that was made just now, in a folder of its own."""

    def __init__(self, place: Path, python: str) -> None:
        run(python, "-m", "venv", place, at=place.parent)
        self.place = place
        self.python = place / "bin" / "python"
        self.pip("install", "--upgrade", "pip")

    def pip(self, *arguments: str | Path) -> str:
        """What pip said."""
        return run(
            self.python, "-I", "-m", "pip", "--disable-pip-version-check", *arguments, at=self.place
        )

    def install(self, archive: Path, extra: str = "", *options: str | Path) -> None:
        """Install a wheel or a source archive, with an extra."""
        self.pip("install", *options, f"{archive}[{extra}]" if extra else archive)
        self.pip("check")

    def program(self, file: Path, *arguments: str) -> str:
        """Run a program; every warning is an error."""
        return run(self.python, "-I", "-W", "error", file, *arguments, at=self.place)

    def versions(self, *options: str) -> dict[str, str]:
        """What is installed; with `--outdated`, what has a newer version."""
        listed = json.loads(self.pip("list", "--format", "json", *options))
        return {entry["name"].lower().replace("_", "-"): entry["version"] for entry in listed}

    def tests(self, tree: Path, *selected: str) -> str:
        """The last line of a run of the tests that lie in an unpacked source archive, of what is installed here."""
        bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        path = f"{self.place / 'bin'}{os.pathsep}{bare.get('PATH', '')}"
        environ = bare | {"PATH": path, "VIRTUAL_ENV": str(self.place)}
        said = run(
            self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected, at=tree, environ=environ
        )  # fmt: skip
        return said.strip().rpartition("\n")[2]
