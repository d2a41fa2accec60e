"""Draw the state diagrams of the docs as SVG that needs no network: `state_diagram`.

The pages have the diagrams as Mermaid text, which GitHub draws. On the site, each state is a column
and each transition an arrow with its causes. The picture takes its colours from the page.
"""

from __future__ import annotations

import re
import textwrap
from html import escape

_WIDTH, _MARGIN, _TOP, _LINE = 740, 4, 52, 15
_CHARACTER = 6.1
"""The width of a character of a label, with some room."""

_TRANSITION = re.compile(r"(\S+) --> ([^\s:]+)(?:: (.*))?")


def transitions(text: str) -> list[tuple[str, str, list[str]]]:
    """Return the transitions of a `stateDiagram-v2`: from, to, and the causes.

    Raises: ValueError for a line that is not a transition.
    """
    kind, *lines = (line.strip() for line in text.strip().splitlines())
    if kind != "stateDiagram-v2":
        raise ValueError(f"got a diagram of kind {kind!r}; only stateDiagram-v2 can be drawn")
    found: list[tuple[str, str, list[str]]] = []
    for line in lines:
        match = _TRANSITION.fullmatch(line)
        if match is None:
            raise ValueError(f"got {line!r}; a line must be a transition, such as 'A --> B: cause'")
        before, after, causes = match.groups()
        found.append((before, after, causes.split("<br>") if causes else []))
    return found


def state_diagram(text: str) -> str:
    """Return a `stateDiagram-v2` of Mermaid as SVG.

    Raises: ValueError for a diagram of another kind, or a line that is not a transition.
    """
    steps = transitions(text)
    named = [step[0] for step in steps] + [step[1] for step in steps]
    states = [state for state in dict.fromkeys(named) if state != "[*]"]
    width = (_WIDTH - 2 * _MARGIN) / len(states)
    middle = {state: _MARGIN + width * (place + 0.5) for place, state in enumerate(states)}
    starts = [after for before, after, _ in steps if before == "[*]"]
    ends = [before for before, after, _ in steps if after == "[*]"]

    arrows: list[str] = []
    y = _TOP + 8
    for before, after, causes in steps:
        if "[*]" in (before, after):
            continue
        begin, end = middle[before], middle[after]
        room = int((abs(end - begin) - 14) / _CHARACTER)
        lines = textwrap.wrap(", ".join(causes), max(room, 8))
        for line in lines:
            y += _LINE
            arrows.append(f'<text x="{(begin + end) / 2:.0f}" y="{y}">{escape(line)}</text>')
        y += 7
        point = -7 if end > begin else 7
        arrows.append(
            f'<path class="arrow" d="M{begin:.0f} {y}H{end + point:.0f}"/>'
            f'<path class="head" d="M{end:.0f} {y}l{point} -4v8z"/>'
        )
        y += 6
    bottom = y + 12

    columns: list[str] = []
    for state, x in middle.items():
        columns.append(
            f'<path class="life" d="M{x:.0f} {_TOP}V{bottom}"/>'
            f'<rect x="{x - width / 2 + 3:.0f}" y="{_TOP - 28}" width="{width - 6:.0f}" height="28" rx="5"/>'
            f'<text class="state" x="{x:.0f}" y="{_TOP - 10}">{escape(state)}</text>'
        )
        if state in starts:
            columns.append(f'<circle class="head" cx="{x:.0f}" cy="8" r="5"/>')
            columns.append(
                f'<path class="arrow" d="M{x:.0f} 8V18"/><path class="head" d="M{x:.0f} 24l-4 -7h8z"/>'
            )
        if state in ends:
            columns.append(
                f'<circle class="end" cx="{x:.0f}" cy="{bottom + 8}" r="7"/>'
                f'<circle class="head" cx="{x:.0f}" cy="{bottom + 8}" r="4"/>'
            )
    names = escape(", ".join(states))
    return (
        f'<div class="state-diagram"><svg viewBox="0 0 {_WIDTH} {bottom + 18}" role="img" '
        f'aria-label="State diagram: {names}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(columns)}{''.join(arrows)}</svg></div>"
    )
