"""The benchmarks run. How fast is not a question for a test: the machine has other things to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # What the outer pytest was told (coverage, say) is not for the inner one.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path)), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, timeout=300, capture_output=True, text=True)


def test_the_benchmarks_run_and_every_side_has_a_floor_in_its_group(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run("benchmarks", "--quick", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(file.read_text(encoding="utf-8"))
    results = report["results"]
    floors = {(result["group"], result["name"]) for result in results if result["floor"] is None}
    groups = {result["group"] for result in results}
    assert {group.split()[0].strip(",") for group in groups} == {"encode", "build", "decode", "cycle", "round", "64"}
    for result in results:
        assert result["name"] in done.stdout
        assert result["microseconds"] > 0
        assert (result["megabytes_per_second"] is None) == result["group"].startswith(("cycle", "round", "64"))
        assert result["cpu_microseconds"] >= 0
        if result["floor"] is not None:
            assert (result["group"], result["floor"]) in floors
            assert result["ratio"] > 0


def test_a_name_that_fits_no_group_is_a_usage_error() -> None:
    done = run("benchmarks", "--quick", "nonsense")
    assert done.returncode == 2
    assert "no group has 'nonsense' in its name" in done.stderr


def test_pytest_benchmark_takes_the_same_sides() -> None:
    done = run("pytest", "benchmarks", "--benchmark-disable", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
