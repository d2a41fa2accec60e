"""Makes docs/demo.svg from a real run of `bitget-cancel demo`: python docs/pictures/demo.py

The fonts that rich would have a browser fetch are left out: the picture loads nothing from anywhere.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from bitget_transports.cli._arguments import parser
from bitget_transports.cli._demo import run
from bitget_transports.cli._screen import Screen
from bitget_transports.cli._stop import Stop

PICTURE = Path(__file__).parent.parent / "demo.svg"
WIDTH = 98


def main() -> int:
    """Run the demonstration, and draw what it said; its exit code is this one's."""
    out = Console(
        file=io.StringIO(), record=True, force_terminal=True, width=WIDTH, color_system="truecolor", markup=False,
        highlight=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    screen, stop = Screen(out=out), Stop()
    out.print("$ bitget-cancel demo")
    code = run(parser().parse_args(["demo"]), screen, stop)
    svg = out.export_svg(title="bitget-cancel demo", theme=MONOKAI, unique_id="demo")
    svg = svg.replace("Fira Code", "Menlo, Consolas, 'DejaVu Sans Mono'")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
