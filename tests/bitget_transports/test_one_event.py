"""One event, one message: whatever ends a connection, every transport says it in the same words.

Each test plays one event on all transports and compares the whole message.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any

import attrs
import pytest

from bitget_proto import Closed, Config, SessionConfig
from bitget_proto.testing.framing import parse
from bitget_transports import ConnectFailed, Limits
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

from .cli.running import Shell
from .colours import BOUND, FAST, KEY, Connect, Flavour, OpenSession
from .test_tls import server_context, trusting
from .tidy import (
    CLOSE,
    TEXT,
    frame,
    nothing_left,
    speaks_first,
    then_write,
    then_write_without_end,
    tidy,
    upgrade_and,
)

pytestmark = pytest.mark.slow

LIMITS = Limits(open_timeout=0.25, close_timeout=0.2)
PATIENT = Limits(open_timeout=10.0, close_timeout=0.2)

PICOWS = (Flavour.PICOWS, Flavour.PICOWS_UVLOOP)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def texts(said: Callable[[Flavour], str]) -> dict[Flavour, str]:
    """Return what each transport says, without the numbers of ports."""
    return {flavour: re.sub(r":\d{4,5}\b", ":PORT", said(flavour)) for flavour in Flavour}


def all_say(text: str, by_picows: str | None = None) -> dict[Flavour, str]:
    return dict.fromkeys(Flavour, text) | dict.fromkeys(PICOWS, by_picows or text)


def connect_fails(
    flavour: Flavour, url: str, limits: Limits = PATIENT, tls: ssl.SSLContext | None = None
) -> str:
    async def scenario(connect: Connect) -> None:
        async with connect(KEY, url=url, config=FAST, limits=limits, tls=tls):
            raise AssertionError("a channel was opened")

    return said_by(flavour.run, tidy(scenario))


def said_by(
    run: Callable[[Any], object], scenario: Callable[[Any], Coroutine[Any, Any, None]]
) -> str:
    """Return the message of the error, which must say what to do as well."""
    with pytest.raises(ConnectFailed) as caught:
        run(scenario)
    message = str(caught.value)
    assert ": " in message
    assert "Error(" not in message
    return message


# --- the WebSocket is not opened ---

WHERE = "127.0.0.1:PORT"
ENDED = f"{WHERE} ended the connection before the WebSocket was open: check the URL and its port"
NO_HTTP = f"{WHERE} does not speak HTTP: check the URL and its port"
TIMED_OUT = (
    f"{WHERE} did not open a WebSocket within 0.25 s: check the network, and whether a proxy is "
    "needed, or raise Limits.open_timeout"
)
BUSY = "127.0.0.1 refused the WebSocket with HTTP status 503{}: try again later"


def answer(data: bytes, *, end: bool = True) -> Behaviour:
    """Read the request, write this, and close the connection or keep it open."""

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(data)
        if not end:
            victim.hold()

    return behave


def reset_after_request(victim: Victim) -> None:
    victim.read_head()
    victim.reset()


@attrs.frozen
class Dial:
    behaviour: Behaviour
    says: str
    limits: Limits = PATIENT
    by_picows: str | None = None
    """What picows says instead."""


DIALS = {
    "reset at once": Dial(Victim.reset, ENDED),
    "reset after the request": Dial(reset_after_request, ENDED),
    "end at once": Dial(hostile_server.hang_up_at_once(), ENDED),
    "end after the request": Dial(answer(b""), ENDED),
    "end within the head": Dial(answer(b"HTTP/1.1 101 Switch"), ENDED),
    "end within the first bytes": Dial(answer(b"HT"), ENDED),
    "silence": Dial(hostile_server.mute(), TIMED_OUT, LIMITS),
    "silence within the head": Dial(hostile_server.half_head(), TIMED_OUT, LIMITS),
    "not HTTP": Dial(speaks_first(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), NO_HTTP),
    # picows looks at an answer when it has two line breaks in a row.
    "not HTTP, without the end of a head": Dial(
        speaks_first(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_HTTP, LIMITS, by_picows=TIMED_OUT
    ),
    "not HTTP, then the end": Dial(answer(b"220 mail ESMTP\r\n"), NO_HTTP, by_picows=ENDED),
    "not quite HTTP": Dial(answer(b"HTTP/one two\r\n\r\n", end=False), NO_HTTP),
    "an endless head": Dial(hostile_server.endless_head(), NO_HTTP),
    "status 302": Dial(
        hostile_server.refuse(302),
        "127.0.0.1 refused the WebSocket with HTTP status 302: check the URL",
    ),
    "status 503 with a body": Dial(
        hostile_server.refuse(503, body=b"come\nback"), BUSY.format(r", saying 'come\nback'")
    ),
    "status 503 with a body that arrives late": Dial(
        answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n", end=False),
        BUSY.format(""),
        LIMITS,
    ),
    "status 503 with a body that is cut short": Dial(
        answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"), BUSY.format("")
    ),
    "status 503 with a body in chunks": Dial(
        answer(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nback\r\n0\r\n\r\n"),
        BUSY.format(", saying 'back'"),
    ),
    "status 503 with a body to the end": Dial(
        answer(b"HTTP/1.1 503 Busy\r\n\r\nback"), BUSY.format(", saying 'back'")
    ),
    "a wrong accept key": Dial(
        hostile_server.wrong_accept(),
        "127.0.0.1 sent an invalid answer to the WebSocket handshake (its Sec-WebSocket-Accept does "
        "not match the key): check the URL",
    ),
}


@pytest.mark.parametrize("dial", DIALS.values(), ids=DIALS)
def test_a_websocket_that_is_not_opened_has_one_message(dial: Dial) -> None:
    with HostileServer(dial.behaviour) as server:
        said = texts(lambda flavour: connect_fails(flavour, server.url, dial.limits))
        assert server.connections == len(Flavour)  # a redirect is not followed
    assert said == all_say(dial.says, dial.by_picows)


# --- the name, the address and this machine ---


def test_a_refused_connection_has_one_message() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}"
        said = texts(lambda flavour: connect_fails(flavour, url))
    assert said == all_say(
        f"{WHERE} refused the connection: nothing listens there; check the URL and its port"
    )


def test_a_name_that_cannot_be_resolved_has_one_message() -> None:
    with pytest.raises(socket.gaierror) as system:
        socket.getaddrinfo("nowhere.invalid", 443)
    said = texts(lambda flavour: connect_fails(flavour, "wss://nowhere.invalid/v2/ws/private"))
    assert said == all_say(
        f"the name nowhere.invalid cannot be resolved ({system.value.strerror}): check the URL and the network"
    )


def test_a_missing_route_has_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    said = texts(lambda flavour: connect_fails(flavour, "wss://255.255.255.255"))
    assert said == all_say(
        "there is no route to 255.255.255.255:443 (Network is unreachable): check the network and "
        "the URL"
    )


@contextmanager
def no_descriptor_left() -> Generator[None]:
    """Leave this process no file descriptor."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        null = os.open(os.devnull, os.O_RDONLY)
        held.callback(os.close, null)
        resource.setrlimit(resource.RLIMIT_NOFILE, (null + 1, limits[1]))
        while True:
            try:
                held.callback(os.close, os.dup(null))
            except OSError:
                break
        yield


def test_a_process_without_descriptors_has_one_message() -> None:
    def said(flavour: Flavour) -> str:
        async def scenario(connect: Connect) -> None:
            channel = connect(KEY, url="ws://127.0.0.1:9999", config=FAST, limits=PATIENT)
            with no_descriptor_left():
                async with channel:
                    raise AssertionError("a channel was opened")

        return said_by(flavour.run, scenario)

    assert texts(said) == all_say(
        f"no socket could be opened for {WHERE} (Too many open files): close files and sockets of "
        "this process, or raise its limit (ulimit -n)"
    )


# --- TLS ---

SECURE = "localhost:PORT"
UNVERIFIED = (
    f"{SECURE} presented an invalid certificate ({{}}): check the URL and this machine's clock; for "
    "a certificate authority of your own, pass tls=ssl.create_default_context(cafile=…)"
)
NO_TLS = f"{SECURE} does not speak TLS: check the URL and its port"
ENDED_IN_TLS = f"{SECURE} ended the connection during the TLS handshake: check the URL and its port"


REFUSED_TLS = (
    f"the TLS handshake with {SECURE} failed (tlsv1 alert protocol version): check the URL, and "
    "which versions of TLS this machine allows"
)


def read_then_end(victim: Victim) -> None:
    """Read the first bytes of the TLS handshake, and end the stream: an end and no reset."""
    victim._receive()


def alert(victim: Victim) -> None:
    victim._receive()
    victim.write(b"\x15\x03\x03\x00\x02\x02\x46")  # fatal, protocol_version
    victim.hold()


BEFORE_TLS: dict[str, tuple[Behaviour, str]] = {
    "end at once": (hostile_server.hang_up_at_once(), ENDED_IN_TLS),
    "end after the hello": (read_then_end, ENDED_IN_TLS),
    "reset at once": (Victim.reset, ENDED_IN_TLS),
    "HTTP": (speaks_first(b"HTTP/1.0 400 Bad Request\r\n\r\n"), NO_TLS),
    "SSH": (speaks_first(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_TLS),
    "an alert": (
        alert,
        REFUSED_TLS,
    ),
    "silence": (
        hostile_server.mute(), TIMED_OUT.replace("127.0.0.1", "localhost"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("behaviour", "says"), BEFORE_TLS.values(), ids=BEFORE_TLS)
def test_a_failed_tls_handshake_has_one_message(behaviour: Behaviour, says: str) -> None:
    limits = LIMITS if "within" in says else PATIENT
    with HostileServer(behaviour) as server:
        url = server.url.replace("ws://127.0.0.1", "wss://localhost")
        said = texts(lambda flavour: connect_fails(flavour, url, limits, trusting()))
    assert said == all_say(says)


CERTIFICATES = {
    "of an unknown authority": (
        None, server_context(), UNVERIFIED.format("unable to get local issuer certificate"),
    ),
    "of another name": (
        trusting(),
        server_context("example.com"),
        UNVERIFIED.format("Hostname mismatch, certificate is not valid for 'localhost'."),
    ),
    "expired": (
        trusting(), server_context(expired=True), UNVERIFIED.format("certificate has expired"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("client", "server", "says"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_an_invalid_certificate_has_one_message(
    client: ssl.SSLContext | None, server: ssl.SSLContext, says: str
) -> None:
    with HostileServer(hostile_server.mute(), tls=server) as there:
        said = texts(lambda flavour: connect_fails(flavour, there.url, tls=client))
    assert said == all_say(says)


@pytest.mark.parametrize(
    "behaviour", [answer(b""), reset_after_request], ids=["the end", "a reset"]
)
def test_an_end_after_the_tls_handshake_has_one_message(behaviour: Behaviour) -> None:
    with HostileServer(behaviour, tls=server_context()) as server:
        said = texts(lambda flavour: connect_fails(flavour, server.url, tls=trusting()))
    assert said == all_say(ENDED.replace("127.0.0.1", "localhost"))


# --- the login is not accepted ---

UNANSWERED = "127.0.0.1 ended the connection before the login was answered ({}): try again later"
NO_KEYS = UNANSWERED.format("the exchange closed with code 1008, saying 'no keys'")
NO_CLOSE_FRAME = "the connection ended without a close frame"
REFUSED = "the exchange refused the login with code {}, saying 'no': {}"


def refuse_login(code: str) -> Behaviour:
    def behave(victim: Victim) -> None:
        victim.upgrade()
        victim.read_until('"login"')
        victim.say(f'{{"event":"error","code":{code},"msg":"no"}}')
        victim.hold()

    return behave


LOGINS = {
    "close 1008": (upgrade_and(frame(CLOSE, b"\x03\xf0no keys")), NO_KEYS),
    "end": (hostile_server.end_of_stream(After.UPGRADE), UNANSWERED.format(NO_CLOSE_FRAME)),
    "reset": (hostile_server.reset(After.UPGRADE), UNANSWERED.format(NO_CLOSE_FRAME)),
    "a broken frame": (
        then_write(b"\xc1\x01x", After.UPGRADE),
        UNANSWERED.format("the exchange broke the WebSocket protocol: a frame with reserved bits"),
    ),
    "silence": (
        hostile_server.silence(),
        "127.0.0.1 gave no answer to the login within 0.2 s: try again, or raise Config.login_timeout",
    ),
}
REFUSALS = {
    "an answer of the public URL": (
        refuse_login("30003"),
        REFUSED.format(
            "30003",
            "check the URL, which is not that of the private WebSocket (its path ends in "
            "/v2/ws/private, for unified accounts in /v3/ws/private)",
        ),
    ),
    "a code": (
        refuse_login("30005"),
        REFUSED.format("30005", "check the key, its permissions and its list of IP addresses"),
    ),
}
LOGIN_CONFIG = attrs.evolve(FAST, login_timeout=0.2)


@pytest.mark.parametrize(
    ("behaviour", "says"), [*LOGINS.values(), *REFUSALS.values()], ids=[*LOGINS, *REFUSALS]
)
def test_a_login_that_is_not_accepted_has_one_message(behaviour: Behaviour, says: str) -> None:
    with HostileServer(behaviour) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=LOGIN_CONFIG, limits=PATIENT):
                raise AssertionError("a channel was opened")

        said = texts(lambda flavour: said_by(flavour.run, tidy(scenario)))
    assert said == all_say(says)


# --- a session ---


def session_fails(flavour: Flavour, url: str, limits: Limits, link: Config = LOGIN_CONFIG) -> str:
    config = SessionConfig(
        link=link, backoff_min=0.01, backoff_max=0.02, dials_per_5_minutes=None, steady_after=None
    )

    async def scenario(open_session: OpenSession) -> None:
        async with open_session(KEY, url=url, config=config, limits=limits):
            raise AssertionError("a channel was opened")

    return said_by(flavour.run_session, tidy(scenario))


@pytest.mark.parametrize(("behaviour", "says"), LOGINS.values(), ids=LOGINS)
def test_a_session_says_at_its_first_dial_why_no_login_was_accepted(
    behaviour: Behaviour, says: str
) -> None:
    limits = attrs.evolve(PATIENT, first_dials=1)
    with HostileServer(behaviour) as server:
        said = texts(lambda flavour: session_fails(flavour, server.url, limits))
        assert server.connections == len(Flavour)
    assert said == all_say(says)


@pytest.mark.parametrize(
    ("behaviour", "says"), [LOGINS["close 1008"], LOGINS["silence"], REFUSALS["a code"]]
)
def test_a_session_that_gives_up_says_why_the_last_login_was_not_accepted(
    behaviour: Behaviour, says: str
) -> None:
    limits = attrs.evolve(PATIENT, up_timeout=0.5)
    with HostileServer(behaviour) as server:
        said = texts(lambda flavour: session_fails(flavour, server.url, limits))
    assert said == all_say(f"no login was accepted within 0.5 s; the last try: {says}")


def test_the_last_dial_counts_and_not_the_last_that_failed() -> None:
    """A WebSocket is refused first; the next one opens and is closed."""
    refuse, close = hostile_server.refuse(503), upgrade_and(frame(CLOSE, b"\x03\xf0no keys"))
    limits = attrs.evolve(PATIENT, first_dials=2)

    def said(flavour: Flavour) -> str:
        with HostileServer(refuse, close) as server:
            return session_fails(flavour, server.url, limits)

    assert texts(said) == all_say(NO_KEYS)


def test_a_session_whose_first_login_is_still_unanswered_says_so() -> None:
    limits = attrs.evolve(PATIENT, up_timeout=0.2)
    with HostileServer(hostile_server.silence()) as server:
        said = texts(lambda flavour: session_fails(flavour, server.url, limits, FAST))
    assert said == all_say(
        "no login was accepted within 0.2 s, and the first connection has not ended: check the "
        "network, or raise Limits.up_timeout"
    )


def test_the_command_says_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(capsys, monkeypatch)
    with HostileServer(LOGINS["close 1008"][0]) as server:
        ran = shell("orders", "--instrument", "BTCUSDT", "--url", server.url, "1")
    assert NO_KEYS in ran.err


# --- the WebSocket was open ---

BROKE = "the exchange broke the WebSocket protocol: "
TOO_LONG = f"the exchange sent a message longer than {2**20} bytes"

ENDS = {
    "end": (hostile_server.end_of_stream(), NO_CLOSE_FRAME),
    "reset": (hostile_server.reset(), NO_CLOSE_FRAME),
    "end within a frame": (hostile_server.half_frame_then_end(), NO_CLOSE_FRAME),
    "close": (hostile_server.close(1001, "bye"), "the exchange closed with code 1001, saying 'bye'"),
    "close without a code": (then_write(frame(CLOSE, b"")), "the exchange closed without a code"),
    "a message that is too long": (hostile_server.huge_message(), TOO_LONG),
    "a frame that is too long": (hostile_server.huge_message(fragment=0), TOO_LONG),
    "an endless message": (hostile_server.endless_message(), TOO_LONG),
    "text that is not UTF-8": (
        then_write(frame(TEXT, b"\xff")), f"{BROKE}a text message that is not UTF-8",
    ),
    "a fragment without a message": (
        then_write_without_end(b"\x00\x01x"), f"{BROKE}a continuation frame without a message",
    ),
}  # fmt: skip


def closes_with(flavour: Flavour, url: str, tls: ssl.SSLContext | None = None) -> str:
    """Return why an open channel ended."""

    async def scenario(connect: Connect) -> str:
        async with connect(KEY, url=url, config=FAST, limits=PATIENT, tls=tls) as channel:
            closed = [event async for event in channel.events][-1]
            assert isinstance(closed, Closed)
            return closed.detail

    return flavour.run(tidy(scenario))


@pytest.mark.parametrize(("behaviour", "says"), ENDS.values(), ids=ENDS)
def test_an_end_of_an_open_websocket_has_one_reason(behaviour: Behaviour, says: str) -> None:
    with HostileServer(behaviour) as server:
        assert texts(lambda flavour: closes_with(flavour, server.url)) == all_say(says)


@pytest.mark.parametrize(
    "behaviour",
    [hostile_server.end_of_stream(), hostile_server.reset()],
    ids=["without close_notify", "a reset"],
)
def test_an_end_over_tls_has_one_reason(behaviour: Behaviour) -> None:
    with HostileServer(behaviour, tls=server_context()) as server:
        said = texts(lambda flavour: closes_with(flavour, server.url, trusting()))
    assert said == all_say(NO_CLOSE_FRAME)


def test_a_message_that_is_too_long_is_answered_with_close_code_1009() -> None:
    codes = Queue[bytes]()

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        # Not much more than the limit: a client that leaves bytes unread resets the connection.
        victim.write(frame(TEXT, b"x" * (2**20 - 1), final=False) + frame(0, b"x" * 10_000))
        while (parsed := parse(victim._read)) is None:
            victim._receive()
        codes.put(parsed[0].data[:2])

    with HostileServer(behave) as server:
        assert texts(lambda flavour: closes_with(flavour, server.url)) == all_say(TOO_LONG)
        # The server's threads may read the last ones later.
        came = [codes.get(timeout=BOUND) for _ in Flavour]
    assert came == [(1009).to_bytes(2, "big")] * len(Flavour)
