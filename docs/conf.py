"""How Sphinx turns these pages into a site: `python -m sphinx -W -n -b html docs docs/_build`.

Rules of this file
- The pages are Markdown that reads well where it lies. Nothing is fetched while they are built.
- Docstrings stay as they are written, with `names` between single backticks: here these become links where they name
  something of the reference, and plain code elsewhere.
"""

from __future__ import annotations

import re
import sys
from enum import Enum, EnumType
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

from bitget_proto import __version__

project = "bitget-proto"
author = "The bitget-proto developers"
copyright = "2026, the bitget-proto developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
nitpicky = True

# --- the pages ---

_REPOSITORY = "https://github.com/bitget-proto/bitget-proto/blob/main"

myst_enable_extensions = ["attrs_inline"]
myst_fence_as_directive = ["mermaid"]  # GitHub's way to write a diagram
myst_heading_anchors = 3
mermaid_version = "11.12.1"
mermaid_fullscreen = False

html_theme = "furo"
html_title = f"bitget-proto {release}"
html_copy_source = False
html_show_sphinx = False

# --- the reference ---

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
maximum_signature_line_length = 100

# This library's public names must lead somewhere. Those of others would have to be looked up on the network, and private
# ones, which signatures mention now and then, have no place in the reference.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!bitget_).*"),
    (r"py:.*", r".*\._.*"),
    (r"py:.*", r".*\.BlockingDriver"),
]

_PUBLIC = (
    "bitget_proto",
    "bitget_proto.testing",
    "bitget_transports",
    "bitget_transports.asyncio",
    "bitget_transports.anyio",
    "bitget_transports.blocking",
    "bitget_transports.exchange",
)  # fmt: skip
"""Where the names of the reference live, the first home first."""


def _to_definitions() -> None:
    """Let each public class name the file that defines it: autodoc reads the strings below its fields there."""
    analyzer: Any = import_module("sphinx.pycode").ModuleAnalyzer
    for name in _PUBLIC:
        for public in import_module(name).__all__:
            getattr(import_module(name), public)
    for name, module in list(sys.modules.items()):
        if name.startswith("bitget_"):
            for made in vars(module).values():
                if (
                    isinstance(made, type)
                    and made.__module__ in _PUBLIC
                    and made.__name__ in analyzer.for_module(name).find_tags()
                ):
                    made.__module__ = name


def _homes() -> tuple[dict[str, str], dict[str, str]]:
    """The public place of each name, by the name alone, and by where it is defined."""
    by_name: dict[str, str] = {}
    by_definition: dict[str, str] = {}
    for place in _PUBLIC:
        module = import_module(place)
        for name in module.__all__:
            found: object = getattr(module, name)
            by_name.setdefault(name, f"{place}.{name}")
            by_definition.setdefault(
                f"{getattr(found, '__module__', place)}.{name}", f"{place}.{name}"
            )
    return by_name, by_definition


_to_definitions()
_HOMES, _HOMES_OF_DEFINITIONS = _homes()
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NAME = re.compile(r"([A-Za-z_]\w*)(\.\w+)?(\(\))?")


def _linked(code: re.Match[str]) -> str:
    """What stands between single backticks, as a link when it is a name of the reference, else as code."""
    name = _NAME.fullmatch(code[1])
    home = None if name is None else _HOMES.get(name[1])
    if name is None or home is None or not _is_there(home, (name[2] or "")[1:]):
        return f"``{code[1]}``"
    return f":py:obj:`{code[1]} <{home}{name[2] or ''}>`"


def _is_there(home: str, member: str) -> bool:
    """Whether the reference has this member of what lives there."""
    place, _, name = home.rpartition(".")
    found: object = getattr(import_module(place), name)
    fields: tuple[Any, ...] = getattr(found, "__attrs_attrs__", ())
    return not member or hasattr(found, member) or member in {field.name for field in fields}


def _of_alias(name: str) -> str:
    """What stands below the definition of a constant or a type alias, which has no docstring of its own."""
    analyzer: Any = import_module("sphinx.pycode").ModuleAnalyzer
    place, _, short = name.rpartition(".")
    file = Path(import_module(place).__file__ or "")
    inside = [
        ".".join((place, *path.relative_to(file.parent).with_suffix("").parts))
        for path in sorted(file.parent.rglob("*.py"))
        if path.stem not in {"__main__", "pytest"}
    ]
    for module in inside if file.stem == "__init__" else [place]:
        found: dict[tuple[str, str], list[str]] = analyzer.for_module(module).find_attr_docs()
        if ("", short) in found:
            return "\n".join(found["", short])
    return ""


def _to_rest(
    _app: Any, what: str, name: str, obj: object, _options: object, lines: list[str]
) -> None:
    """The house's docstrings in Sphinx's own markup: backticks, and what is indented is code."""
    text = cleandoc("\n".join(lines))
    if what == "data":
        text = _of_alias(name)
        if members := [f"`{part.__name__}`" for part in get_args(obj) if isinstance(part, type)]:
            text += f"\n\nOne of {', '.join(members)}."
    blocks: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("    "):
            blocks.append(f".. code-block:: python\n\n{block}")
        else:
            blocks.append(_CODE.sub(_linked, block))
    blocks += map(_with_sentence, _told(obj))
    lines[:] = [*"\n\n".join(blocks).split("\n"), ""]


def _told(found: object) -> list[Any]:
    """The members of an enum that carry a sentence each."""
    members: list[Any] = list(found) if isinstance(found, EnumType) else []
    return [member for member in members if hasattr(member, "sentence")]


def _with_sentence(member: Any) -> str:
    value = f"   :value: {member.value!r}"
    return f".. py:attribute:: {member.name}\n{value}\n\n   {_CODE.sub(_linked, member.sentence)}"


def _told_already(
    _app: Any, _what: str, name: str, obj: object, skip: bool, _options: object
) -> bool:
    """Whether a member was written down with its sentence, beside its class."""
    return skip or (isinstance(obj, Enum) and hasattr(obj, "sentence")) or name == "sentence"


def _without_signature(
    _app: Any, _what: str, _name: str, obj: object, *_: object
) -> tuple[str, str] | None:
    """An enum is looked up, never made."""
    return ("", "") if isinstance(obj, EnumType) else None


def _public_home(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A reference to `bitget_proto._values.events.Wait`, as annotations have it, leads to `bitget_proto.Wait`."""
    if node.get("refdomain") != "py":
        return None
    target = _HOMES_OF_DEFINITIONS.get(str(node["reftarget"])) or _HOMES.get(str(node["reftarget"]))
    if target is None:
        return None
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", target, node, contnode
    )


_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def _to_repository(app: Any, _page: str, source: list[str]) -> None:
    """A link to a file beside the docs works where the page lies; on the site it leads to the repository."""

    def absolute(link: re.Match[str]) -> str:
        if not (Path(app.confdir).parent / link[1]).exists():
            raise FileNotFoundError(f"there is no {link[1]}, to which a page links")
        return f"]({_REPOSITORY}/{link[1]}"

    source[0] = _OUTSIDE.sub(absolute, source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _to_repository)
    app.connect("autodoc-process-docstring", _to_rest)
    app.connect("autodoc-skip-member", _told_already)
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("missing-reference", _public_home)
