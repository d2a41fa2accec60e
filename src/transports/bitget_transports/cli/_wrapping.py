"""Wraps texts that are laid out by hand to the width of a terminal."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator

_is_command = re.compile(r" *(\w+=\S+ )*bitget-cancel ").match
_before_text = re.compile(r" +(?:- |\S.*?  +)?").match
"""The indent of a line, with its dash, or with its label if two blanks follow the label."""


def wrapped(text: str, width: int) -> str:
    """Wrap a text. Continuation lines are indented to the text after the label or the dash.

    A line that is indented like the text of the line above continues that line. A wrapped command
    has a backslash at the end of each line, so that a shell can read it.
    """
    return "\n".join(_wrapped(line, width) for line in _joined(text))


def _wrapped(line: str, width: int) -> str:
    command = _is_command(line) is not None
    parts = textwrap.wrap(
        line,
        width - 2 if command else width,
        subsequent_indent=" " * (6 if command else _hang(line)),
        break_long_words=not command,
        break_on_hyphens=False,
    )
    return (" \\\n" if command else "\n").join(parts)


def _joined(text: str) -> Iterator[str]:
    above = ""
    for number, line in enumerate(text.split("\n")):
        indent = len(line) - len(line.lstrip())
        if line and above and indent == _hang(above) and not _is_command(line):
            above += " " + line.lstrip()
            continue
        if number:
            yield above
        above = line
    yield above


def _hang(line: str) -> int:
    found = _before_text(line)
    return 0 if found is None else found.end()


class Formatter(argparse.HelpFormatter):
    """Wraps descriptions and epilogs, and keeps their lists and commands."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002 - as argparse has it
        return wrapped(text, width)
