"""The tutorial says to run its file after each piece: each time, the program ends by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial-transport.md"
PIECES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, len(PIECES) + 1))
def test_the_program_so_far_ends_by_itself(tmp_path: Path, step: int) -> None:
    program = tmp_path / "tutorial.py"
    program.write_text("\n".join(PIECES[:step]), "utf-8")
    subprocess.run([sys.executable, str(program)], check=True, timeout=60.0)
