"""Tests that the core is sans-IO: no clock, randomness, environment, sockets or global state."""

from __future__ import annotations

import ast
import importlib
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NoReturn

import pytest

import bitget_proto
import bitget_transports
from bitget_proto import (
    Accepted,
    Budget,
    CancelOrder,
    Closed,
    Codec,
    Config,
    Connection,
    Dial,
    Down,
    Ended,
    Engine,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    Output,
    Policy,
    Ready,
    Rejected,
    Session,
    SessionConfig,
    SessionOutput,
    SignedLogin,
    Transmit,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
)
from bitget_proto.testing import encode_reply

SRC = {
    "bitget_proto": Path(bitget_proto.__file__).parent,
    "bitget_transports": Path(bitget_transports.__file__).parent,
}


def dotted(package: str, path: Path) -> str:
    return ".".join((package, *path.relative_to(SRC[package]).with_suffix("").parts))


FILES = {
    dotted(package, path): path
    for package, root in SRC.items()
    for path in sorted(root.rglob("*.py"))
}
"""Every file of `src` by its dotted name; that of a package ends in `.__init__`."""

TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}

LAYERS = [
    {"bitget_proto._values", "bitget_proto._version"},
    {"bitget_proto._wire"},
    {"bitget_proto._machine"},
    {"bitget_proto._trace"},
    {"bitget_proto.__init__", "bitget_proto.explain"},
    {"bitget_proto.__main__"},
    {"bitget_proto.testing._exchange", "bitget_proto.testing.framing"},
    {"bitget_proto.testing._kit"},
    {"bitget_proto.testing._virtual"},
    {"bitget_proto.testing.__init__", "bitget_proto.testing.__main__", "bitget_proto.testing.pytest"},
    {"bitget_transports._driver"},
    {"bitget_transports.__init__"},
    {"bitget_transports._redis"},
    {
        "bitget_transports.anyio", "bitget_transports.asyncio", "bitget_transports.blocking",
        "bitget_transports.exchange", "bitget_transports.faults", "bitget_transports.telemetry",
    },
    {"bitget_transports.cli", "bitget_transports.conformance", "bitget_transports.pytest_plugin"},
    {"bitget_transports.__main__"},
]  # fmt: skip
"""The layers, lowest first. A part is a folder or a file; it imports only from lower layers."""

CORE = [
    name
    for name in FILES
    if name.startswith("bitget_proto.")
    and not name.startswith("bitget_proto.testing.")
    and name != "bitget_proto.__main__"
]
modules = pytest.mark.parametrize("module", CORE)

ALLOWED = {
    "__future__", "attrs", "base64", "cattrs", "cattrs.gen", "collections", "collections.abc", "contextlib", "decimal", "enum",
    "functools", "hashlib", "heapq", "hmac", "importlib", "itertools", "json", "math", "re", "sys", "types", "typing",
}  # fmt: skip
"""Modules that the core may import eagerly: its two dependencies, and pure standard modules."""

LATER = {
    ("bitget_proto._values.order_updates", "decimal"),
    ("bitget_proto._wire.order_items", "decimal"),
    ("bitget_proto._values.credentials", "hmac"),
    ("bitget_proto._values.credentials", "cryptography.exceptions"),
    ("bitget_proto._values.credentials", "cryptography.hazmat.primitives"),
    ("bitget_proto._values.credentials", "cryptography.hazmat.primitives.asymmetric"),
}
"""Modules that may be imported lazily: extras, OpenSSL, a tenth of the import time, and
`decimal`, a hundredth."""


def part(module: str) -> str:
    """The part of a file: the longest layer name that is its own or a parent folder."""
    parts = [
        name
        for layer in LAYERS
        for name in layer
        if module == name or module.startswith(f"{name}.")
    ]
    assert parts, f"{module} is in no layer"
    return max(parts, key=len)


def layer(module: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part(module) in parts)


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """The full name of every module imported in this tree, also under `TYPE_CHECKING`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*around, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{source}.{alias.name}"
                yield inside if inside in FILES or f"{inside}.__init__" in FILES else source


def inside(module: str) -> set[str]:
    """The files of `src` that it imports."""
    named = (
        name if name in FILES else f"{name}.__init__" for name in imports(module, TREES[module])
    )
    return {name for name in named if name in FILES}


def at_import(tree: ast.Module) -> ast.Module:
    """The module without the bodies of functions and what is for type checkers: the code that runs
    on import."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            if ast.unparse(node.test) == "TYPE_CHECKING":
                return None
            return self.generic_visit(node)

    stripped = Strip().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(stripped, ast.Module)
    return stripped


# --- imports ---


def outside(module: str, tree: ast.AST) -> set[str]:
    return {name for name in imports(module, tree) if name.partition(".")[0] not in SRC}


@modules
def test_a_module_imports_only_attrs_cattrs_and_pure_modules(module: str) -> None:
    # A trace has amounts. It is imported only when something is recorded.
    also = {"decimal"} if module == "bitget_proto._trace.json_values" else set[str]()
    assert outside(module, at_import(TREES[module])) <= ALLOWED | also


@modules
def test_only_extras_and_openssl_are_imported_lazily(module: str) -> None:
    late = outside(module, TREES[module]) - outside(module, at_import(TREES[module]))
    assert {(module, name) for name in late} <= LATER


@modules
def test_only_engines_are_imported_by_a_computed_name(module: str) -> None:
    names = {node.id for node in ast.walk(TREES[module]) if isinstance(node, ast.Name)}
    assert not names & {
        "__import__", "eval", "exec", "compile", "open", "input", "print", "globals", "breakpoint",
    }  # fmt: skip
    assert "import_module" not in names or module in LAZY


LAZY = {"bitget_proto._wire.json_engines", "bitget_proto.__init__"}
"""Modules that import by a name from a table of their own."""


def test_every_file_is_in_a_layer_and_no_part_is_empty() -> None:
    assert len(FILES) > 100
    assert {part(module) for module in FILES} == {name for parts in LAYERS for name in parts}


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_from_lower_layers(module: str) -> None:
    up = {
        name
        for name in inside(module)
        if part(name) != part(module) and layer(name) >= layer(module)
    }
    assert not up


OF_A_LINK = {
    "session": ("_ids", "_opened", "_outcomes", "_outputs"),
    "session_closer": ("_drain_within",),
    "link_outputs": ("_outputs",),
    "own_frames": ("_frames",),
    "session_outcomes": ("_in_flight",),
    "cancel_sender": ("_cancel_allowed_at", "_frames", "_hand_out", "_in_flight"),
}
"""Private attributes of a connection that the parts of a session use."""

OPENED = {
    ("bitget_proto._wire.classic", "_value_"),
    ("bitget_proto._values.enums", "_value_"),
    ("bitget_proto._trace.recorder", "_attach_recorder"),
    *(
        (f"bitget_proto._machine.{user}", name)
        for user, names in OF_A_LINK.items()
        for name in names
    ),
}
"""Uses of private attributes of other files: an enum's `_value_`, the parts of a connection that a
session uses, and the hook for a recorder.
"""


@modules
def test_a_private_attribute_is_used_only_in_its_own_file(module: str) -> None:
    own = {"self", "cls"}
    touched = {
        (module, node.attr)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in own)
    }
    assert touched == {(user, name) for user, name in OPENED if user == module}


@pytest.mark.parametrize(
    "module", [name for name in FILES if name.startswith("bitget_transports.")]
)
def test_a_transport_imports_no_private_module_of_the_core(module: str) -> None:
    private = {
        name
        for name in imports(module, TREES[module])
        if name.startswith("bitget_proto.") and "._" in name
    }
    assert not private


def test_imports_have_no_cycle() -> None:
    order = list(TopologicalSorter({module: inside(module) for module in FILES}).static_order())
    assert set(order) == set(FILES)


def modules_after(statement: str) -> set[str]:
    """The modules loaded in a fresh interpreter after a statement."""
    run = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(run.stdout.split())


def test_importing_the_package_imports_no_event_loop_and_no_engine() -> None:
    brought = modules_after("import bitget_proto") - modules_after("import attrs, cattrs")
    roots = {name.partition(".")[0].removeprefix("_") for name in brought}
    assert {"bitget_proto", "json"} <= roots
    assert not roots & {
        "asyncio", "socket", "selectors", "select", "threading", "thread", "ssl", "trio", "anyio", "websockets", "httpx",
        "concurrent", "multiprocessing", "subprocess", "logging", "random", "secrets", "uuid", "datetime", "tempfile",
        "msgspec", "orjson", "cryptography", "hmac", "pytest", "argparse", "http", "urllib", "email",
    }  # fmt: skip
    assert "bitget_proto.testing" not in brought


@pytest.mark.parametrize("name", ["Session", "record", "replay", "Trace"])
def test_a_program_does_not_import_testing(name: str) -> None:
    brought = modules_after(f"import bitget_proto; bitget_proto.{name}")
    assert "bitget_proto" in brought
    assert not {module for module in brought if module.startswith("bitget_proto.testing")}


# --- the exchange's words ---

CAMEL = re.compile(r"\b(apiKey|instType|instId|orderId|clientOid|cancel-order|connId)\b")


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, without docstrings."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents
        ):
            yield node.value


@pytest.mark.parametrize(
    "module",
    [
        module
        for module in CORE
        if module.startswith(
            ("bitget_proto._values", "bitget_proto._wire", "bitget_proto._machine")
        )
    ],
)
def test_only_the_codecs_have_the_exchanges_words(module: str) -> None:
    spelled = [text for text in strings(TREES[module]) if CAMEL.search(text)]
    assert bool(spelled) == (
        module
        in (
            "bitget_proto._wire.classic",
            "bitget_proto._wire.classic_rest",
            "bitget_proto._wire.codec",
            "bitget_proto._wire.exchange_codec",
            "bitget_proto._wire.order_items",
            "bitget_proto._wire.unified",
            "bitget_proto._wire.unified_rest",
        )
    )


# --- state ---

MUTABLE = (list, dict, set, bytearray, deque, OrderedDict, defaultdict)


@modules
def test_no_module_has_a_mutable_container(module: str) -> None:
    loaded = importlib.import_module(module.removesuffix(".__init__"))
    held = {
        name
        for name, value in vars(loaded).items()
        if isinstance(value, MUTABLE) and not (name.startswith("__") and name.endswith("__"))
    }
    assert not held


@modules
def test_no_function_rebinds_a_module_variable(module: str) -> None:
    for node in ast.walk(TREES[module]):
        assert not isinstance(node, ast.Global)


@modules
def test_no_function_has_a_mutable_default_or_a_cache(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef):
            defaults = [
                default
                for default in (*node.args.defaults, *node.args.kw_defaults)
                if default is not None
            ]
            assert not any(
                isinstance(default, ast.List | ast.Dict | ast.Set) for default in defaults
            )
            assert not any("cache" in ast.unparse(decorator) for decorator in node.decorator_list)


# --- a whole session with clock, network and files trapped ---


class Touched(BaseException):
    """The core did I/O. A BaseException, so that no `except Exception` hides it."""


class NoEnvironment:
    def __getattribute__(self, name: str) -> NoReturn:
        raise Touched(name)

    def __getitem__(self, name: str) -> NoReturn:
        raise Touched(name)


def forbidden(*_: object, **__: object) -> NoReturn:
    raise Touched


TRAPS: list[tuple[object, str]] = [
    *(
        (time, name)
        for name in (
            "time",
            "time_ns",
            "monotonic",
            "monotonic_ns",
            "perf_counter",
            "perf_counter_ns",
            "sleep",
        )
    ),
    *((time, name) for name in ("process_time", "thread_time", "localtime", "gmtime")),
    *(
        (random, name)
        for name in ("random", "randint", "randrange", "choice", "uniform", "getrandbits", "Random")
    ),
    *((os, name) for name in ("urandom", "getenv", "getpid")),
    *((socket, name) for name in ("socket", "create_connection", "getaddrinfo")),
    (sys.modules["builtins"], "open"),
    (sys.modules["builtins"], "print"),
]


def drained(connection: Connection, now: float) -> list[Output]:
    outputs: list[Output] = []
    while not isinstance(output := connection.poll(now), Wait):
        outputs.append(output)
    return [*outputs, output]


def play(engine: Engine) -> list[Output]:
    """A whole run: login, each kind of reply, heartbeat, noise, late reply, close, end."""
    codec, budget = Codec(engine), Budget(10)
    connection = Connection(Config(id_prefix="p-", max_in_flight=6), codec, budget)
    order = CancelOrder("BTCUSDT", order_id="1")
    seen: list[Output] = []
    connection.cancel(order, 0.0)
    connection.opened(0.0, login=SignedLogin("key", "pass", "1700000000", "c2ln"))
    seen += drained(connection, 0.0)
    connection.receive('{"event":"login","code":0}', 0.5)
    seen += drained(connection, 0.5)
    connection.receive(encode_reply(order, "p-1"), 1.0)
    ids = [connection.cancel(order, 1.0, timeout=5.0) for _ in range(4)]
    seen += drained(connection, 1.0)
    connection.receive(encode_reply(order, ids[0], code=43001, message="gone"), 1.5)
    connection.receive(b'{"action":"snapshot"}', 1.5)
    connection.receive(b"\xff", 1.5)
    connection.send('{"op":"subscribe","args":[]}', 1.5)
    budget.debit(3, 1.5)
    seen += drained(connection, 1.5)
    connection.handle_timeout(6.0)
    connection.receive(encode_reply(order, ids[1]), 6.5)
    connection.receive('{"event":"error","code":30006,"msg":"request too many"}', 6.5)
    seen += drained(connection, 6.5)
    connection.handle_timeout(30.0)
    seen += drained(connection, 30.0)
    connection.receive("pong", 30.5)
    connection.cancel(order, 31.0)
    seen += drained(connection, 31.0)
    connection.close(31.0)
    connection.handle_timeout(36.0)
    seen += drained(connection, 36.0)
    connection.lost(37.0)
    return [*seen, *drained(connection, 37.0)]


def play_session(engine: Engine) -> list[SessionOutput]:
    """A run over three links: a waiting cancel, one that is sent again, a rotation, an end."""
    codec = Codec(engine)
    session = Session(SessionConfig(policy=Policy.RESEND), codec, jitter=lambda: 0.5)
    orders = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(3)]
    seen: list[SessionOutput] = []

    def drain(now: float) -> None:
        while not isinstance(output := session.poll(now), Wait):
            seen.append(output)
        seen.append(output)

    def connect(link: int, now: float) -> None:
        session.opened(link, now, login=SignedLogin("key", "pass", "1700000000", "c2ln"))
        drain(now)
        session.receive(link, '{"event":"login","code":0}', now)
        drain(now)

    ids = [session.cancel(orders[0], 0.0)]
    drain(0.0)
    connect(1, 0.5)
    session.receive(1, encode_reply(orders[0], ids[0]), 1.0)
    ids.append(session.cancel(orders[1], 1.0))
    drain(1.0)
    session.lost(1, 1.5, "reset")
    drain(2.5)
    connect(2, 2.5)
    session.receive(2, encode_reply(orders[1], ids[1]), 3.0)
    session.receive(2, '{"event":"error","code":30033,"msg":"going away"}', 3.0)
    drain(5.0)
    connect(3, 5.0)
    session.cancel(orders[2], 6.0)
    drain(6.0)
    session.close(6.0)
    session.handle_timeout(11.0)
    drain(11.0)
    return seen


@pytest.mark.parametrize("engine", Engine)
def test_a_whole_session_runs_without_clock_network_or_files(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrapped, untrapped_session = play(engine), play_session(engine)
    with monkeypatch.context() as trapped:
        for owner, name in TRAPS:
            trapped.setattr(owner, name, forbidden)
        trapped.setattr(os, "environ", NoEnvironment())
        seen, session_seen = play(engine), play_session(engine)
    assert seen == untrapped
    assert session_seen == untrapped_session
    assert {
        Dial,
        LinkTransmit,
        LinkHangup,
        Up,
        Down,
        Accepted,
        Unresolved,
        LinkClosed,
        Ended,
        Wait,
    } <= {type(output) for output in session_seen}
    kinds = {type(output) for output in seen}
    assert {Transmit, Ready, Accepted, Rejected, Unresolved, Unrecognised, Closed, Wait} <= kinds


@pytest.mark.parametrize(("owner", "name"), TRAPS, ids=[name for _, name in TRAPS])
def test_each_trap_works(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as trapped:
        trapped.setattr(owner, name, forbidden)
        caught = False
        try:
            getattr(owner, name)()
        except Touched:
            caught = True
    assert caught


def test_the_trap_for_the_environment_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as trapped:
        trapped.setattr(os, "environ", NoEnvironment())
        caught = 0
        looks: list[Callable[[], object]] = [
            lambda: os.environ["HOME"],
            lambda: os.environ.get("HOME"),
        ]
        for look in looks:
            try:
                look()
            except Touched:
                caught += 1
    assert caught == 2


@pytest.mark.parametrize("engine", Engine)
def test_the_same_inputs_give_the_same_outputs(engine: Engine) -> None:
    assert play(engine) == play(Engine.STDLIB)
