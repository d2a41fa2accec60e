"""The core touches nothing: no clock, no entropy, no environment, no socket, no state of its own beyond its objects."""

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

ROOT = Path(bitget_proto.__file__).parent
FILES = {path.stem: path for path in sorted(ROOT.glob("*.py")) if path.stem != "__main__"}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
modules = pytest.mark.parametrize("module", TREES)

ALLOWED = {
    "__future__", "attrs", "base64", "cattrs", "cattrs.gen", "collections", "collections.abc", "contextlib", "enum",
    "functools", "hashlib", "heapq", "hmac", "importlib", "itertools", "json", "math", "re", "sys", "types", "typing",
}  # fmt: skip
"""What the core may import when it is imported: the two that it depends on, and parts of the standard library that
compute and nothing else."""

LATER = {
    ("_credentials", "cryptography.exceptions"),
    ("_credentials", "cryptography.hazmat.primitives"),
    ("_credentials", "cryptography.hazmat.primitives.asymmetric"),
}
"""What may be imported when it is needed: an extra."""

LAYERS: list[set[str]] = [
    {
        "_attempts", "_cancel_queue", "_codes", "_config", "_credentials", "_errors", "_events", "_heartbeat", "_messages",
        "_orders", "_other_names", "_pace", "_redial", "_request_ids", "_session_config", "_session_events",
        "_session_states", "_spacing", "_states", "_timers", "_told", "_version",
    },
    {"_engines", "_codec", "_redacted"},
    {"_connection", "_exchange"},
    {"_session"},
    {"_plain"},
    {"_secrets"},
    {"_calls"},
    {"_trace"},
    {"_recording"},
    {"_replay"},
]  # fmt: skip
"""The layers, ground floor first. What is not listed stands on top: it may import all of these and none of them it."""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import below, as the level of its dots and the name of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                yield from ((node.level, alias.name) for alias in node.names)
            else:
                yield node.level, node.module


def at_import(tree: ast.Module) -> ast.Module:
    """The module without what stands inside of functions: what runs when it is imported."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

    stripped = Strip().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(stripped, ast.Module)
    return stripped


# --- imports ---


@modules
def test_a_module_imports_attrs_cattrs_and_what_only_computes(module: str) -> None:
    outside = {name for level, name in imports(at_import(TREES[module])) if level == 0}
    assert outside <= ALLOWED


@modules
def test_what_is_imported_later_is_an_extra(module: str) -> None:
    early = set(imports(at_import(TREES[module])))
    late = {(module, name) for level, name in imports(TREES[module]) if (level, name) not in early}
    assert late <= LATER


@modules
def test_nothing_is_imported_by_a_computed_name_but_an_engine(module: str) -> None:
    names = {node.id for node in ast.walk(TREES[module]) if isinstance(node, ast.Name)}
    assert not names & {
        "__import__",
        "eval",
        "exec",
        "compile",
        "open",
        "input",
        "print",
        "globals",
        "breakpoint",
    }
    assert "import_module" not in names or module == "_engines"


def rank(module: str) -> int:
    return next((n for n, layer in enumerate(LAYERS) if module in layer), len(LAYERS))


@modules
def test_imports_run_one_way_down_the_layers(module: str) -> None:
    if module == "__init__":
        return
    inside = {name for level, name in imports(TREES[module]) if level}
    assert all(level <= 1 for level, _ in imports(TREES[module])), "nothing above the package"
    assert inside <= set(TREES), "neither the testing kit nor the command line is known down here"
    assert {name for name in inside if rank(name) > rank(module)} == set()


OF_A_LINK = ("_check_opens", "_drain_within", "_late", "_opens", "_outputs", "_own", "_send")
"""What a session asks of the connections of its links, and no other module."""

OPENED = {
    ("_codec", "_value_"),
    ("_told", "_value_"),
    ("_recording", "_overheard"),
    *(("_session", name) for name in OF_A_LINK),
}
"""What is private elsewhere and used all the same: an enum's own value, the parts of a link that a session works with, and
the door for a recorder."""


@modules
def test_what_is_private_is_touched_by_its_own_file_alone(module: str) -> None:
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


def test_imports_run_in_no_circle() -> None:
    graph = {
        module: {name for level, name in imports(tree) if level} for module, tree in TREES.items()
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(TREES)
    assert all(
        order.index(below) < order.index(module)
        for module, inside in graph.items()
        for below in inside
    )


def test_every_listed_module_exists() -> None:
    assert all(layer <= set(TREES) for layer in LAYERS)


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter knows after a statement."""
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
    assert {"bitget_proto", "json", "hmac"} <= roots
    assert not roots & {
        "asyncio", "socket", "selectors", "select", "threading", "thread", "ssl", "trio", "anyio", "websockets", "httpx",
        "concurrent", "multiprocessing", "subprocess", "logging", "random", "secrets", "uuid", "datetime", "tempfile",
        "msgspec", "orjson", "cryptography", "pytest", "argparse", "http", "urllib", "email",
    }  # fmt: skip
    assert "bitget_proto.testing" not in brought


# --- spelling ---

CAMEL = re.compile(r"\b(apiKey|instType|instId|orderId|clientOid|cancel-order|connId)\b")


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, but for those that only document."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents
        ):
            yield node.value


@pytest.mark.parametrize("module", sorted(name for layer in LAYERS for name in layer))
def test_the_exchanges_spelling_lives_in_the_codec_alone(module: str) -> None:
    spelled = [text for text in strings(TREES[module]) if CAMEL.search(text)]
    assert bool(spelled) == (module == "_codec")


# --- state ---

MUTABLE = (list, dict, set, bytearray, deque, OrderedDict, defaultdict)


@modules
def test_no_module_holds_a_container_that_can_change(module: str) -> None:
    loaded = importlib.import_module(
        "bitget_proto" if module == "__init__" else f"bitget_proto.{module}"
    )
    held = {
        name
        for name, value in vars(loaded).items()
        if isinstance(value, MUTABLE) and not (name.startswith("__") and name.endswith("__"))
    }
    assert not held


@modules
def test_no_function_rebinds_what_belongs_to_a_module(module: str) -> None:
    for node in ast.walk(TREES[module]):
        assert not isinstance(node, ast.Global)


@modules
def test_no_function_remembers_by_a_mutable_default_or_a_cache(module: str) -> None:
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


# --- a probe: a whole session while the world is out of reach ---


class Touched(BaseException):
    """The core reached for the world; no `except Exception` hides it."""


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
    """A whole life: login, cancels answered in each way, a heartbeat, noise, a late reply, a close, an end."""
    codec, budget = Codec(engine), Budget(10)
    connection = Connection(Config(id_prefix="p-", max_in_flight=6), codec, budget)
    order = CancelOrder("BTCUSDT", order_id="1")
    seen: list[Output] = []
    connection.cancel(order, 0.0)
    connection.opened(0.0, login=SignedLogin("key", "pass", "1700000000", "c2ln"))
    seen += drained(connection, 0.0)
    connection.receive('{"event":"login","code":0}', 0.5)
    seen += drained(connection, 0.5)
    connection.receive(codec.encode_reply(order, "p-1"), 1.0)
    ids = [connection.cancel(order, 1.0, timeout=5.0) for _ in range(4)]
    seen += drained(connection, 1.0)
    connection.receive(codec.encode_reply(order, ids[0], code=43001, message="gone"), 1.5)
    connection.receive(b'{"action":"snapshot"}', 1.5)
    connection.receive(b"\xff", 1.5)
    connection.send('{"op":"subscribe","args":[]}', 1.5)
    budget.debit(3, 1.5)
    seen += drained(connection, 1.5)
    connection.handle_timeout(6.0)
    connection.receive(codec.encode_reply(order, ids[1]), 6.5)
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
    """A life over three links: a cancel that waits, one that is sent again, a move, an end."""
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
    session.receive(1, codec.encode_reply(orders[0], ids[0]), 1.0)
    ids.append(session.cancel(orders[1], 1.0))
    drain(1.0)
    session.lost(1, 1.5, "reset")
    drain(2.5)
    connect(2, 2.5)
    session.receive(2, codec.encode_reply(orders[1], ids[1]), 3.0)
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
def test_a_whole_session_is_played_without_touching_the_world(
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
def test_each_trap_snaps(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as trapped:
        trapped.setattr(owner, name, forbidden)
        caught = False
        try:
            getattr(owner, name)()
        except Touched:
            caught = True
    assert caught


def test_the_environments_trap_snaps(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_the_same_life_told_twice_ends_the_same(engine: Engine) -> None:
    assert play(engine) == play(Engine.STDLIB)
