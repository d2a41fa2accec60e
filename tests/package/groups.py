"""`python -m tests.package.groups [NAME ...]`: use each dependency group and the extra `test` alone.

Each gets a virtual environment of its own, and does what it is for. All of them take some minutes
and 3 GB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]

TRIES = {
    "lint": "ruff check && ruff format --check",
    "types": "mypy src && pyright --version && nox --version",
    "dev": "pytest -q tests/package && ruff --version && sphinx-build --version && pygount --version",
    "package": "python -m build --outdir $OUT && python -m tests.package.contents $OUT/*",
    "docs": "sphinx-build -q -W -n docs $OUT",
    "fuzz": "python tests/fuzz/decode.py tests/fuzz/corpus/decode -max_total_time=5",
    "bench": "python -m benchmarks --quick",
    "peers": "python -m benchmarks peers --quick",
    "examples": "set -e; for file in examples/*.py; do python -W error $file; done",
    "heavy": "cd examples && QT_QPA_PLATFORM=offscreen python -m heavy",
    "mutation": "mutmut --help",
    "test": "pytest -q tests/package",
}
"""What each group is for, as a command."""


def try_alone(name: str) -> None:
    """Install one group, or the extra `test`, and run its command.

    Raises: CalledProcessError when one of the two fails.
    """
    what = ["-e", ".[test]"] if name == "test" else ["-e", ".", "--group", name]
    with tempfile.TemporaryDirectory() as place:
        python = str(Path(place, "bin", "python"))
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([*pip, "-U", "pip"], check=True)
        subprocess.run([*pip, *what], check=True, cwd=_ROOT)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {
            "PATH": f"{Path(place, 'bin')}{os.pathsep}{os.environ['PATH']}",
            "OUT": str(Path(place, "out")),
        }
        subprocess.run(TRIES[name], shell=True, check=True, cwd=_ROOT, env=environment)
    print(f"{name}: works", flush=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or TRIES:
        try_alone(chosen)
