"""`python -m tests.package.extras dist/*.whl`: try a wheel alone and with each extra.

Each extra gets its own virtual environment, in which `pip check` must find no conflict. All wheels
are fetched once, as those of the extra `all`. The transports cancel orders at an exchange that runs
in the environment of the extra `exchange`, and its log must have every cancel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .bounds import extras
from .smoke import ALONE, TRANSPORTS

_ROOT = Path(__file__).parents[2]
_SMOKE = Path(__file__).with_name("smoke.py")
_FIRST_ORDER = 1000001


def _pip(*what: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *what], check=True
    )


def _environment(place: Path, wheels: Path, extra: str) -> list[str]:
    """Create an environment with this extra and return the command of its smoke test.

    It is filled from a folder of wheels, by a pip outside of it. The command runs isolated, with
    warnings as errors.
    """
    python = place / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    wanted = f"bitget-proto[{extra}]" if extra else "bitget-proto"
    found = ("--no-index", "--find-links", wheels)
    _pip("--python", python, "install", "--no-compile", *found, wanted)
    _pip("--python", python, "check")
    return [str(python), "-I", "-W", "error", str(_SMOKE)]


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
        wheels = Path(folder, "wheels")
        _pip("wheel", "--wheel-dir", wheels, f"{wheel}[all]")
        names = ["", *offered]

        def environment(extra: str) -> list[str]:
            return _environment(Path(folder, extra or "alone"), wheels, extra)

        with ThreadPoolExecutor(os.cpu_count()) as several:
            made = dict(zip(names, several.map(environment, names), strict=True))
            with subprocess.Popen(
                [*made["exchange"], "exchange", *orders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as server:
                assert server.stdin is not None
                assert server.stdout is not None
                url = server.stdout.readline().strip()

                def use(extra: str, name: str, order: str) -> list[str]:
                    """Run a smoke test; return the order that it cancelled, if any."""
                    cancelled = [order] if name in TRANSPORTS else []
                    if name != "exchange":
                        arguments = [name, url, order] if cancelled else [name]
                        subprocess.run([*made[extra], *arguments], check=True)
                    print(f"{extra or 'alone'}: {name} works", flush=True)
                    return cancelled

                uses = several.map(use, *zip(*tries, strict=True), orders)
                cancelled = [order for each in uses for order in each]
                server.stdin.close()
                seen = json.loads(server.stdout.read())
    assert sorted(seen) == cancelled, (seen, cancelled)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
