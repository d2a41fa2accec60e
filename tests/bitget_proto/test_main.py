"""`python -m bitget_proto`, run in this process except where the process is the subject."""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitget_proto import (
    CancelOrder,
    Codec,
    CodeClass,
    Config,
    Connection,
    Dialect,
    Engine,
    Outcome,
    SignedLogin,
    Wait,
    __version__,
)
from bitget_proto.__main__ import main
from bitget_proto._values.codes import CODES as TABLES
from bitget_proto._values.codes import NOTES
from bitget_proto._values.states import diagram
from bitget_proto.explain import outcome_of, printable
from bitget_proto.testing import encode_event

CODES = TABLES[Dialect.CLASSIC]

ACCEPTED = (
    '{"event":"trade","arg":[{"id":"1","instType":"SPOT","channel":"cancel-order","instId":"BTCUSDT",'
    '"params":{"orderId":"1376695893517410304"}}],"code":0,"msg":"Success","ts":1763958928351}'
)
REFUSED = (
    ACCEPTED.replace("trade", "error")
    .replace('"code":0', '"code":43001')
    .replace("Success", "It does not exist")
)
SECRETS = ("the-key", "the-phrase", "1763958928", "c2lnbmF0dXJl")
LOGIN = json.dumps({
    "op": "login",
    "args": [dict(zip(("apiKey", "passphrase", "timestamp", "sign"), SECRETS, strict=True))],
})  # fmt: skip
TROUBLE = (
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),  # C0, DEL, C1
    *"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",  # text direction
    *"\u00ad\u200b\u200c\u200d\u2060\ufeff\u034f\u115f\u3164\ufe0f\U000e0100",  # invisible
    *"\u2028\u2029\u00a0",  # line ends, no-break space
    "\udfff",  # lone surrogates
    "\ud800",
)


class Console:
    """Standard input and output of one run."""

    def __init__(self, given: bytes = b"", encoding: str = "utf-8") -> None:
        self.stdin: io.TextIOWrapper = io.TextIOWrapper(io.BytesIO(given))
        self.stdout: io.TextIOWrapper = io.TextIOWrapper(
            io.BytesIO(), encoding=encoding, newline=""
        )
        self.stderr: io.TextIOWrapper = io.TextIOWrapper(
            io.BytesIO(), encoding=encoding, newline=""
        )

    def run(self, *arguments: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("stdin", "stdout", "stderr"):
                patch.setattr(sys, name, getattr(self, name))
            return main(arguments)

    @property
    def out(self) -> str:
        return self._written(self.stdout)

    @property
    def err(self) -> str:
        return self._written(self.stderr)

    def _written(self, stream: Any) -> str:
        stream.flush()
        return str(stream.buffer.getvalue().decode(stream.encoding))


def decoded(
    *frames: str | bytes, options: Iterable[str] = (), encoding: str = "utf-8"
) -> tuple[int, str]:
    lines = (
        frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass")
        for frame in frames
    )
    console = Console(b"\n".join(lines), encoding)
    code = console.run("decode", *options)
    assert not console.err
    return code, console.out


def as_data(frame: str | bytes) -> dict[str, Any]:
    (line,) = decoded(frame, options=["--json"])[1].splitlines()
    data: dict[str, Any] = json.loads(line)
    return data


# --- encode ---


def test_encode_prints_the_frame_that_the_codec_writes() -> None:
    console = Console()
    assert console.run("encode", "--instrument", "BTCUSDT", "--order-id", "12") == 0
    assert console.out == Codec().encode_cancel(CancelOrder("BTCUSDT", "12"), "1") + "\n"


def test_encode_takes_every_part_of_the_request() -> None:
    console = Console()
    arguments = [
        "--instrument=ETHUSDT",
        "--order-id=1",
        '--client-oid=-"',
        "--inst-type=USDT-FUTURES",
        "--id=a b",
    ]
    assert console.run("encode", *arguments) == 0
    frame = json.loads(console.out)
    assert frame["args"] == [
        {
            "id": "a b",
            "instType": "USDT-FUTURES",
            "instId": "ETHUSDT",
            "channel": "cancel-order",
            "params": {"orderId": "1", "clientOid": '-"'},
        }
    ]


def test_decode_explains_a_frame_that_encode_prints() -> None:
    console = Console()
    console.run("encode", "--instrument", "BTCUSDT", "--client-oid", "mine")
    code, out = decoded(console.out)
    assert code == 0
    assert out.startswith(
        '1: client CancelRequest, id "1", "SPOT BTCUSDT, your own id mine"\n   A request'
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instrument=BTCUSDT"], "needs --order-id"),
        (["--instrument=BTC/USDT", "--order-id=1"], "write 'BTCUSDT'"),
        (["--instrument=BTCUSDT", "--order-id="], "order_id must be"),
        (["--instrument=BTCUSDT", "--order-id=1", "--id=\x1b[2J"], r"\x1b[2J"),
        (["--instrument=BTCUSDT", "--order-id=\ud800"], r"\ud800"),
    ],
)
def test_encode_reports_an_error_in_one_line(arguments: list[str], said: str) -> None:
    console = Console()
    assert console.run("encode", *arguments) == 2
    assert said in console.err
    assert console.err.count("\n") == 1
    assert not console.out


# --- decode ---


def test_decode_explains_frames_of_either_side_in_two_lines_each() -> None:
    code, out = decoded(ACCEPTED, REFUSED, "ping", "pong", '{"op":"subscribe","args":[]}')
    assert code == 0
    assert out.splitlines() == [
        '1: exchange TradeReply, id "1", code 0, accepted, "Success"',
        "   Accepted: The exchange received the request. The order may still fill before the cancel reaches it.",
        '2: exchange ErrorReply, id "1", code 43001, not found, "It does not exist"',
        f"   Rejected: {CodeClass.NOT_FOUND.sentence}",
        "3: client Ping",
        "   The heartbeat: a pong must follow.",
        "4: exchange Pong",
        "   The answer to a ping: the exchange is alive.",
        '5: client OtherRequest, "subscribe"',
        "   Neither a login nor a cancel.",
    ]


@pytest.mark.parametrize(
    ("frame", "kind", "outcome", "means"),
    [
        (
            '{"event":"error","code":30033,"msg":""}',
            "ErrorReply",
            None,
            "not even the only one in flight.",
        ),
        ('{"event":"error","code":30015}', "ErrorReply", None, "it refuses the login"),
        ('{"event":"error","code":30006}', "ErrorReply", None, "the rate limits pause"),
        (
            '{"event":"error","code":30007}',
            "ErrorReply",
            None,
            "once logged in, it ends the connection (WhyClosed.THROWN_OUT)",
        ),
        (
            '{"event":"error","arg":[{"id":"1"}],"code":40725}',
            "ErrorReply",
            "Unresolved",
            "look the order up",
        ),
        (
            '{"event":"error","arg":[{"id":"1"}],"code":0}',
            "ErrorReply",
            "Unresolved",
            "contradicts the event",
        ),
        (
            '{"event":"error","arg":[{"id":"1"}],"code":12345}',
            "ErrorReply",
            "Unresolved",
            "does not know",
        ),
        (
            '{"event":"error","arg":[{"id":"1"}],"code":40015}',
            "ErrorReply",
            "Unresolved",
            "nothing about what happened",
        ),
        (
            '{"event":"error","arg":[{"id":"1"}],"code":40014}',
            "ErrorReply",
            "Rejected",
            "contact your BD or RM",
        ),
        (
            '{"event":"trade","arg":[{"id":"1","channel":"place-order"}],"code":0}',
            "TradeReply",
            None,
            "other than a cancel",
        ),
        (
            '{"event":"error","arg":{"channel":"fill"},"op":"subscribe","code":30001}',
            "ErrorReply",
            None,
            "other than a",
        ),
        (
            '{"event":"error","arg":{"channel":"orders","instType":"SPOT"},"code":30001}',
            "SubscribeReply",
            None,
            "no pushes about orders, for SPOT",
        ),
        (
            '{"event":"subscribe","arg":{"channel":"orders"}}',
            "SubscribeReply",
            None,
            "Pushes about orders follow, for all product lines",
        ),
        (
            '{"arg":{"channel":"orders"},"data":[{"orderId":"1"}]}',
            "OrdersPush",
            None,
            "an OrderUpdate for each. It settles no cancel.",
        ),
        (
            '{"arg":{"channel":"orders"},"data":[{"orderId":"1"},{}]}',
            "OrdersPush",
            None,
            "Not readable: 1.",
        ),
        (
            '{"event":"trade","arg":[{"id":"1"},{"id":"2"}],"code":0}',
            "TradeReply",
            None,
            "names no single request",
        ),
        ('{"event":"trade","code":0}', "TradeReply", None, "does not say which request"),
        ('{"event":"login","code":"0","msg":""}', "LoginReply", None, "Logged in"),
        ('{"event":"login","code":30011}', "LoginReply", None, "The login is refused"),
        ('{"event":"login"}', "LoginReply", None, "no readable code"),
        ('{"event":"subscribe","arg":{}}', "Other", None, "An event for the caller"),
        ('{"action":"snapshot","data":[]}', "Other", None, "No event and no readable op"),
        ('{"op":5}', "Other", None, "No event and no readable op"),
        ('{"op":"trade","args":[]}', "BadRequest", None, "nothing is cancelled"),
        ("<html>", "Malformed", None, "It cannot be read (not JSON)"),
    ],
)
def test_decode_explains_what_a_frame_means_for_the_cancel(
    frame: str, kind: str, outcome: str | None, means: str
) -> None:
    data = as_data(frame)
    assert (data["kind"], data["outcome"]) == (kind, outcome)
    assert means in data["means"]


def test_decode_names_the_outcome_that_a_connection_reports() -> None:
    for code in (*(code for codes in CODES.values() for code in codes), "12345", "x"):
        connection = Connection(Config())
        connection.opened(0.0, login=SignedLogin("key", "phrase", "1", "sign"))
        connection.poll(0.0)
        connection.receive('{"event":"login","code":0}', 0.0)
        id = connection.cancel(CancelOrder("BTCUSDT", "1"), 0.0)
        reply = encode_event("trade" if code == "0" else "error", None, "", arg=[{"id": id}])
        reply = reply[:-1] + f',"code":"{code}"}}'
        outputs: list[object] = []
        for message in (None, reply):
            if message is not None:
                connection.receive(message, 0.0)
            while not isinstance(output := connection.poll(0.0), Wait):
                outputs.append(output)
        (outcome,) = (output for output in outputs if isinstance(output, Outcome))
        assert as_data(reply)["outcome"] == type(outcome).__name__


def test_decode_prints_json_lines_that_hold_what_the_peer_wrote() -> None:
    text = "".join(TROUBLE) + "å好😀"
    reply = json.dumps(
        {"event": "error", "arg": [{"id": text}], "code": "043001", "msg": "x", "ts": 5}
    )
    code, out = decoded("", reply, "\r", "pong", options=["--json"], encoding="ascii")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert first == {
        "line": 2,
        "side": "exchange",
        "kind": "ErrorReply",
        "id": text,
        "code": "43001",
        "code_class": "not found",
        "exchange_ts": 5,
        "text": "x",
        "outcome": "Rejected",
        "means": CodeClass.NOT_FOUND.sentence,
    }
    assert (second["line"], second["kind"], second["code_class"]) == (4, "Pong", None)


def test_decode_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "frames.txt"
    file.write_bytes(f"{ACCEPTED}\r\n\r\npong".encode())
    console = Console()
    assert console.run("decode", str(file)) == 0
    assert [line[:2] for line in console.out.splitlines()] == ["1:", "  ", "3:", "  "]


@pytest.mark.parametrize("engine", [*(engine.value for engine in Engine), "fastest"])
def test_decode_prints_the_same_with_every_engine(engine: str) -> None:
    frames = (ACCEPTED, REFUSED, LOGIN, "pong", "ping", "NaN", "[]", b"\xff")
    assert decoded(*frames, options=["--engine", engine]) == decoded(*frames)


def test_an_engine_that_is_not_installed_is_a_failure_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    console = Console()
    assert console.run("decode", "--engine=orjson") == 2
    assert "pip install 'bitget-proto[orjson]'" in console.err
    assert console.err.count("\n") == 1


def test_malformed_frames_make_the_exit_code_1_and_hide_no_others() -> None:
    code, out = decoded("not json", ACCEPTED)
    assert code == 1
    assert out.splitlines()[:2] == [
        '1: Malformed, "not json"',
        "   It cannot be read (not JSON), and settles no cancel.",
    ]
    assert "Accepted" in out


def test_an_invalid_request_that_is_readable_is_no_failure() -> None:
    code, out = decoded('{"op":"trade","args":[{"channel":"nope"}]}')
    assert code == 0
    assert out.startswith("1: client BadRequest, code 30016, protocol")


@pytest.mark.parametrize("length", [65537, 65538, 65539, 65540, 200_000])
def test_a_line_that_is_too_long_is_one_malformed_frame(length: int) -> None:
    code, out = decoded(" " * length, "pong")
    assert code == 1
    assert "1: Malformed" in out
    assert "(too large)" in out
    assert "2: exchange Pong" in out


def test_the_longest_frame_that_a_connection_reads_is_read() -> None:
    assert decoded('{"event":"x"' + " " * (65536 - 13) + "}\r\n" + "pong")[0] == 0


def test_a_long_text_of_a_peer_is_shortened() -> None:
    out = decoded(json.dumps({"event": "error", "msg": "m" * 5000}))[1]
    assert "m" * 200 + '"... (5000 characters)' in out
    assert "m" * 201 not in out


def test_a_file_that_cannot_be_opened_is_a_failure_in_one_line(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path, "a\0b", tmp_path / "\x1b[2J"):
        console = Console()
        assert console.run("decode", str(file)) == 2
        assert console.err.startswith("python -m bitget_proto: cannot read ")
        assert console.err.count("\n") == 1
        assert "\x1b" not in console.err


def test_a_read_error_is_reported_after_the_frames_read_so_far() -> None:
    class Breaking(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise OSError(5, "Input/output error")
            return line

    console = Console()
    console.stdin = io.TextIOWrapper(Breaking(b"pong\n"))
    assert console.run("decode") == 2
    assert "1: exchange Pong" in console.out
    assert console.err == "python -m bitget_proto: cannot read standard input: Input/output error\n"


# --- unsafe text of a peer ---


def is_harmless(text: str) -> bool:
    return all(
        char in "\n "
        or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Cn", "Co"}
        for char in text
    ) and not any(char in text for char in TROUBLE if char not in "\n ")


anything = st.text(
    st.one_of(st.characters(), st.sampled_from(TROUBLE), st.characters(categories=["Cs"])),
    max_size=60,
)
keys = st.sampled_from(
    ["event", "op", "code", "msg", "arg", "args", "id", "ts", "channel", "params"]
)
values = st.one_of(anything, st.sampled_from(["trade", "error", "login"]), st.integers(), st.none())
frames = st.one_of(
    st.dictionaries(
        st.one_of(keys, anything),
        st.recursive(values, lambda inner: st.lists(st.dictionaries(keys, inner)), max_leaves=6),
    ).map(json.dumps),
    st.tuples(anything, values).map(
        lambda both: json.dumps({"event": both[1], "arg": [{"id": both[0]}], "msg": both[0]})
    ),
    anything,
)


@given(
    st.lists(frames, max_size=4),
    st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "utf-16-le"]),
)
@example([json.dumps({"event": "error", "msg": "".join(TROUBLE)})], "ascii")
@example(["".join(TROUBLE)], "latin-1")
@example([json.dumps({"op": "trade", "args": [{char: char for char in TROUBLE}]})], "ascii")
def test_text_of_a_peer_is_escaped_for_the_terminal(texts: list[str], encoding: str) -> None:
    for options in ([], ["--json"]):
        code, out = decoded(*texts, options=options, encoding=encoding)
        assert code in (0, 1)
        assert is_harmless(out)


@given(st.binary(max_size=80), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_bytes_of_a_peer_are_escaped_for_the_terminal(line: bytes, encoding: str) -> None:
    code, out = decoded(line, encoding=encoding)
    assert code in (0, 1)
    assert is_harmless(out)


@pytest.mark.parametrize("char", TROUBLE)
def test_printable_escapes_every_unsafe_character(char: str) -> None:
    assert char not in printable(f"a{char}b")
    assert printable(char).isascii()


def test_letters_are_shown_if_the_output_encoding_has_them() -> None:
    frame = json.dumps({"event": "error", "msg": "订单不存在 é"})
    assert "订单不存在 é" in decoded(frame)[1]
    assert r"\u8ba2" in decoded(frame, encoding="latin-1")[1]
    assert " é" in decoded(frame, encoding="latin-1")[1]


def test_an_escape_written_by_a_peer_is_distinguishable() -> None:
    out = decoded(json.dumps({"event": "error", "msg": '\\x1b" \x1b'}))[1]
    assert r'"\\x1b\" \x1b"' in out


@pytest.mark.parametrize(
    "frame",
    [
        LOGIN,
        LOGIN.replace('"op"', '"event": null, "op"'),
        LOGIN[:-1],
        LOGIN[16:],
        LOGIN + "}",
        LOGIN.replace("login", "LOGIN"),
        LOGIN.replace("sign", "extra"),
        LOGIN.replace("login", "l\\u006fgin"),
        LOGIN[:-1]
        .replace("login", "l\\u006Fgi")
        .replace("apiKey", "\\u0061piKey")
        .replace("pass", "\\u0070ass"),
        LOGIN.replace('"1763958928"', "1763958928"),
        f"[{LOGIN}]",
        LOGIN.encode("utf-16"),
        LOGIN.encode() + b"\xff",
        " " * 50 + LOGIN + " " * 70_000,
        "[" * 40 + LOGIN + "]" * 40,
    ],
)
def test_the_secrets_of_a_login_are_never_shown(frame: str | bytes) -> None:
    for options in ([], ["--json"]):
        _, out = decoded(frame, options=options)
        assert out
        plain = out.replace("\\x00", "").replace("\\u0000", "")
        for secret in SECRETS:
            assert secret not in plain


# --- explain and diagram ---


def test_explain_prints_class_meaning_and_notes_of_each_code() -> None:
    console = Console()
    assert console.run("explain", "43001", "00000", "12345") == 0
    assert console.out.startswith(
        f"43001 on classic accounts: not found\n   {CodeClass.NOT_FOUND.sentence}\n   "
        f"{NOTES['43001']}\n   A cancel that"
    )
    assert (
        f"\n43001 on unified accounts: unlisted\n   {CodeClass.UNLISTED.sentence}\n" in console.out
    )
    assert (
        f"\n0: accepted\n   {CodeClass.ACCEPTED.sentence}\n   A cancel that is answered with it ends Accepted.\n"
        in console.out
    )
    assert (
        f"\n12345: unlisted\n   {CodeClass.UNLISTED.sentence}\n   A cancel that is answered with it ends Unresolved.\n"
        in console.out
    )


def test_explain_without_a_code_prints_the_whole_table_in_ascii() -> None:
    console = Console()
    assert console.run("explain") == 0
    assert console.out.isascii()
    for code_class in CodeClass:
        assert (
            f"{code_class.value} ({outcome_of(code_class)}): {code_class.sentence}" in console.out
        )
    words = console.out.split()
    for code in (code for codes in CODES.values() for code in codes):
        assert code in words
    for note in NOTES.values():
        assert note in console.out


@pytest.mark.parametrize("code", ["abc", "", "1" * 13, "٣", "\x1b[2J", "-1"])
def test_explain_refuses_an_argument_that_is_no_code(code: str) -> None:
    console = Console()
    assert console.run("explain", "--", code) == 2
    assert console.err.startswith(
        "python -m bitget_proto: CODE must be 1 to 12 digits, such as 43001; got '"
    )
    assert console.err.count("\n") == 1
    assert is_harmless(console.err)


def test_diagram_prints_the_diagram() -> None:
    console = Console(encoding="ascii")
    assert console.run("diagram") == 0
    assert console.out == diagram()


# --- usage, exit codes and streams ---


@pytest.mark.parametrize(
    "arguments", [(), ("nope",), ("decode", "--engine=nope"), ("diagram", "\x1b[2J")]
)
def test_invalid_arguments_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    console = Console()
    assert console.run(*arguments) == 2
    assert console.err.startswith("usage: python -m bitget_proto")
    assert is_harmless(console.err)


def test_an_unknown_option_shows_the_usage_of_its_command() -> None:
    console = Console()
    assert console.run("decode", "--jsn") == 2
    assert console.err.startswith("usage: python -m bitget_proto decode [-h]")
    assert "unrecognized arguments: --jsn" in console.err
    console = Console()
    assert console.run("--jsn", "decode") == 2
    assert console.err.startswith("usage: python -m bitget_proto [-h]")


@pytest.mark.parametrize("arguments", [(), ("encode",), ("decode",), ("explain",), ("diagram",)])
def test_the_help_is_ascii_and_shows_examples(arguments: tuple[str, ...]) -> None:
    console = Console(encoding="ascii")
    assert console.run(*arguments, "--help") == 0
    assert "usage: python -m bitget_proto" in console.out
    assert "examples:\n  python -m bitget_proto" in console.out
    assert "\n\noptions:" in console.out or "\n\npositional arguments:" in console.out
    usage, _, _ = console.out.partition("\n\noptions:")
    assert "." in usage.partition("\n\n")[2], "the help has a sentence on what it does"


def test_the_examples_of_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames.txt").write_text(ACCEPTED)
    console = Console()
    console.run("--help")
    console.run("encode", "--help")
    tried = [
        line.split()[3:]
        for line in console.out.splitlines()
        if line.startswith("  python -m bitget_proto ")
    ]
    assert len(tried) == 7
    for arguments in tried:
        assert Console().run(*arguments) == 0


def test_the_version_is_printed() -> None:
    console = Console()
    assert console.run("--version") == 0
    assert console.out == f"bitget-proto {__version__}\n"


class BrokenOutput(io.TextIOWrapper):
    def __init__(self, error: BaseException) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.error = error

    def write(self, text: str, /) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(28, "No space left on device"),
            2,
            "cannot write the output: No space left on device\n",
        ),
    ],
)
def test_a_closed_output_ends_the_command_quietly(
    error: BaseException, code: int, said: str
) -> None:
    console = Console()
    console.stdout = BrokenOutput(error)
    assert console.run("explain") == code
    assert console.err.endswith(said)
    assert console.err.count("\n") == bool(said)


def test_closed_standard_streams_are_a_failure_without_traceback() -> None:
    for name, arguments, said in (
        ("stdin", ["decode"], "cannot read standard input: it is closed"),
        ("stdout", ["diagram"], "standard output is closed"),
    ):
        console = Console()
        setattr(console, name, None)
        assert console.run(*arguments) == 2
        assert said in console.err
    console = Console()
    vars(console)["stderr"] = None
    assert console.run("explain", "x") == 2


def process(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii",
        "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
    }
    command = [sys.executable, "-m", "bitget_proto", *arguments]
    return subprocess.run(
        command, check=False, env=environment, timeout=60, stdout=stdout, stderr=subprocess.PIPE
    )


def test_the_module_runs_as_a_command() -> None:
    done = process("--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"usage: python -m bitget_proto [-h]")


def test_the_exit_code_is_that_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bitget_proto.__main__")
    # Where a wheel is installed, pytest's plugin has loaded it, and there is no code for runpy.
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    monkeypatch.setattr(sys, "argv", ["bitget_proto", "explain", "nonsense"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("bitget_proto", run_name="__main__")
    assert stopped.value.code == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes that break are POSIX's")
def test_a_closed_pipe_prints_nothing_on_standard_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = process("explain", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
