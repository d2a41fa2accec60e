"""Sphinx configuration; build with `python -m sphinx -W -n -b html docs docs/_build`.

The pages are Markdown that can be read in the repository. The build needs no network.
In docstrings, `names` in single backticks become links if the reference has them, and code if not.
"""

from __future__ import annotations

import inspect
import re
import sys
from enum import Enum, EnumType
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

from bitget_proto import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "bitget-proto"
author = "The bitget-proto developers"
copyright = "2026, the bitget-proto developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True

# --- the pages ---

_ROOT = Path(__file__).parents[1]
_REPOSITORY = "https://github.com/bitget-proto/bitget-proto/blob/main"

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor output

html_theme = "furo"
html_title = f"bitget-proto {release}"
html_theme_options = {
    "source_repository": "https://github.com/bitget-proto/bitget-proto/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False

# --- the reference ---

autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
maximum_signature_line_length = 100

# References to this library's public names must resolve. Names of other libraries are ignored,
# because resolving them needs the network; so are private names, which have no entry.
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
"""The modules that export the names of the reference. The first that has a name documents it."""


def _set_defining_modules() -> None:
    """Set `__module__` of each public class to the module that defines it.

    autodoc reads the attribute docstrings from that module.
    """
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
    """Return the public path of each name, keyed by the name and by the path of its definition."""
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


_set_defining_modules()
_HOMES, _HOMES_OF_DEFINITIONS = _homes()
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NAME = re.compile(r"([A-Za-z_]\w*)(\.\w+)?(\(\))?")


def _linked(code: re.Match[str]) -> str:
    """Convert code in single backticks to a link if the reference has the name, else to code."""
    name = _NAME.fullmatch(code[1])
    home = None if name is None else _HOMES.get(name[1])
    if name is None or home is None or not _has_member(home, (name[2] or "")[1:]):
        return f"``{code[1]}``"
    return f":py:obj:`{code[1]} <{home}{name[2] or ''}>`"


def _has_member(home: str, member: str) -> bool:
    """Return whether the object at the path `home` has the member; true for an empty `member`."""
    place, _, name = home.rpartition(".")
    found: object = getattr(import_module(place), name)
    fields: tuple[Any, ...] = getattr(found, "__attrs_attrs__", ())
    return not member or hasattr(found, member) or member in {field.name for field in fields}


def _alias_doc(name: str) -> str:
    """Return the string below the definition of a constant or type alias, or an empty string."""
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
    """Convert a docstring to reStructuredText: single backticks, and indented blocks as code."""
    text = cleandoc("\n".join(lines))
    if what == "data":
        text = _alias_doc(name)
        if members := [f"`{part.__name__}`" for part in get_args(obj) if isinstance(part, type)]:
            text += f"\n\nOne of {', '.join(members)}."
    blocks: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("    "):
            blocks.append(f".. code-block:: python\n\n{block}")
        else:
            blocks.append(_CODE.sub(_linked, block))
    blocks += map(_member_entry, _documented_members(obj))
    lines[:] = [*"\n\n".join(blocks).split("\n"), ""]


def _documented_members(found: object) -> list[Any]:
    """Return the members of an enum that have a `sentence`."""
    members: list[Any] = list(found) if isinstance(found, EnumType) else []
    return [member for member in members if hasattr(member, "sentence")]


def _member_entry(member: Any) -> str:
    """Return the entry of an enum member, with its `sentence`."""
    value = f"   :value: {member.value!r}"
    return f".. py:attribute:: {member.name}\n{value}\n\n   {_CODE.sub(_linked, member.sentence)}"


def _skip_member(
    _app: Any, _what: str, name: str, obj: object, skip: bool, _options: object
) -> bool:
    """Skip enum members that `_to_rest` has documented with their class."""
    return skip or (isinstance(obj, Enum) and hasattr(obj, "sentence")) or name == "sentence"


def _without_signature(
    _app: Any, _what: str, _name: str, obj: object, *_: object
) -> tuple[str, str] | None:
    """Hide the signature of enums: users look members up and do not create them."""
    return ("", "") if isinstance(obj, EnumType) else None


def _public_home(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a reference to a definition to its public name.

    Annotations have `bitget_proto._values.events.Wait`; the reference has `bitget_proto.Wait`.
    """
    if node.get("refdomain") != "py":
        return None
    target = _HOMES_OF_DEFINITIONS.get(str(node["reftarget"])) or _HOMES.get(str(node["reftarget"]))
    if target is None:
        return None
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", target, node, contnode
    )


_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def _to_repository(app: Any, page: str, source: list[str]) -> None:
    """Point links to files outside `docs` to the repository: the site does not have them."""

    def absolute(link: re.Match[str]) -> str:
        if not (Path(app.confdir).parent / link[1]).exists():
            raise FileNotFoundError(f"{page}.md links to {link[1]}, which does not exist")
        return f"]({_REPOSITORY}/{link[1]}"

    source[0] = _OUTSIDE.sub(absolute, source[0])


_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _draw_diagrams(_app: Any, _page: str, source: list[str]) -> None:
    """Draw state diagrams here: Mermaid would need the network to draw them in the browser."""
    draw: Any = import_module("state_diagrams").state_diagram
    source[0] = _DIAGRAM.sub(lambda found: f"```{{raw}} html\n{draw(found[1])}\n```", source[0])


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the address of the source of a documented object; None for a constant or field."""
    found: Any = import_module(info["module"]) if domain == "py" and info["module"] else None
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    if isinstance(found, property):
        found = found.fget
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return None
    found = inspect.unwrap(found)
    try:
        file = Path(inspect.getsourcefile(found) or "").resolve()
        lines, first = inspect.getsourcelines(found)
    except (OSError, TypeError):  # made by attrs, or by an enum
        return None
    if not file.is_relative_to(_ROOT):
        return None
    place = f"{file.relative_to(_ROOT).as_posix()}#L{first}-L{first + len(lines) - 1}"
    return f"{_REPOSITORY}/{place}"


def _check_inventory(_app: Any, env: Any) -> None:
    """Warn of a public name without an entry: other projects could not link to it."""
    known = set(env.domains["py"].objects)
    if missing := sorted(set(_HOMES.values()) - known - {"bitget_proto.__version__"}):
        logger: Any = import_module("sphinx.util.logging").getLogger(__name__)
        logger.warning("docs/reference.rst has no entry for %s", ", ".join(missing))


def setup(app: Any) -> None:
    """Connect the handlers; called by Sphinx."""
    app.connect("env-check-consistency", _check_inventory)
    app.connect("source-read", _to_repository)
    app.connect("source-read", _draw_diagrams)
    app.connect("autodoc-process-docstring", _to_rest)
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("missing-reference", _public_home)
