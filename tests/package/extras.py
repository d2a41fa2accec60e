"""`python -m tests.package.extras dist/*.whl`: try a wheel alone and with each extra.

Each extra gets its own virtual environment. The transports cancel orders at an exchange that runs
in the environment of the extra `exchange`, and its log must have every cancel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from .bounds import extras
from .smoke import ALONE, TRANSPORTS

_ROOT = Path(__file__).parents[2]
_SMOKE = Path(__file__).with_name("smoke.py")
_FIRST_ORDER = 1000001


def _environment(place: Path, wheel: Path, extra: str) -> list[str]:
    """Create an environment with this extra and return the command of its smoke test.

    The command runs isolated, with warnings as errors.
    """
    python = str(place / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", f"{wheel}[{extra}]" if extra else wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    return [python, "-I", "-W", "error", str(_SMOKE)]


def main(wheel: Path) -> None:
    """Test every extra that users can install.

    Raises: CalledProcessError for an extra that cannot be installed or fails; AssertionError when
        a cancel is missing in the log.
    """
    offered = extras(tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"])
    used: dict[str, list[str]] = {"": ["core"], "all": [*ALONE, *TRANSPORTS]}
    tries = [(extra, name) for extra in ("", *offered) for name in used.get(extra, [extra])]
    orders = [str(_FIRST_ORDER + place) for place in range(len(tries))]
    with tempfile.TemporaryDirectory() as folder:
        made = {
            extra: _environment(Path(folder, extra or "alone"), wheel, extra)
            for extra in ("", *offered)
        }
        with subprocess.Popen(
            [*made["exchange"], "exchange", *orders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            cancelled: list[str] = []
            for (extra, name), order in zip(tries, orders, strict=True):
                if name in TRANSPORTS:
                    cancelled.append(order)
                    subprocess.run([*made[extra], name, url, order], check=True)
                elif name != "exchange":
                    subprocess.run([*made[extra], name], check=True)
                print(f"{extra or 'alone'}: {name} works", flush=True)
            server.stdin.close()
            seen = json.loads(server.stdout.read())
    assert seen == cancelled, (seen, cancelled)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
