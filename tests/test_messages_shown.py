"""Every error that a user can meet, collected in `tests/messages.txt`.

Each error is provoked here, and its message is compared with that file. Run as a script to regenerate it.
"""

from __future__ import annotations

import ast
import math
import os
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from errno import (  # fmt: skip
    EACCES,
    EADDRNOTAVAIL,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EMFILE,
    ENETUNREACH,
    ENFILE,
    EPERM,
    ETIMEDOUT,
)
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    CallerError,
    CancelOrder,
    Closed,
    Codec,
    CodeClass,
    Config,
    Connection,
    Credentials,
    DeadManSwitch,
    Dialect,
    InstType,
    Lease,
    LoginRejected,
    NotRenewed,
    OneOrder,
    OpenOrders,
    Reconciler,
    ReconcilerConfig,
    RestCodec,
    Session,
    SessionConfig,
    Stopped,
    Trace,
    Unresolved,
    Wait,
    WhyClosed,
    WhyNotRenewed,
    WhyUnresolved,
    record,
    replay,
    sign_login,
    sign_request,
)
from bitget_proto.__main__ import main as look
from bitget_proto.testing import ExchangeConnection, ScriptedExchange, VirtualClock, check_driver
from bitget_proto.testing.__main__ import main as kit
from bitget_proto.testing._exchange.exchange_connection import check_refusal
from bitget_transports import Limits, LoginRefused, UpgradeRefused
from bitget_transports._driver.account import Account
from bitget_transports._driver.address_race import AddressBook, AddressRace
from bitget_transports._driver.checks import check_unused
from bitget_transports._driver.confirmer import Confirmer, check_rounds
from bitget_transports._driver.connect_errors import (
    answered_wrongly,
    could_not_connect,
    ended_early,
    login_error,
    no_login,
    proxy_ended,
    proxy_refused,
    proxy_sent_garbage,
    proxy_wants_credentials,
    speaks_no_http,
    took_too_long,
)
from bitget_transports._driver.errors import _LOGIN_HINTS, _UPGRADE_HINTS
from bitget_transports._driver.guard import GuardDriver, _failure
from bitget_transports._driver.log import ChannelLog
from bitget_transports._driver.proxy import Proxy, unless_connected
from bitget_transports._driver.reporter import Reporter
from bitget_transports._driver.rest import check_rest
from bitget_transports._driver.sockets import check_sock
from bitget_transports._driver.url import Target
from bitget_transports._redis.ring import Ring
from bitget_transports._redis.stores import blocking_store
from bitget_transports.cli import main as command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "messages.txt"
COMMAND = "python tests/test_messages_shown.py"

ORDER = CancelOrder("BTCUSDT", order_id="1")
KEY = Credentials("the-key", "the-secret", "the-passphrase")
LOGIN = sign_login(KEY, 1763958366)
LIVE = "wss://ws.bitget.com/v2/ws/private"
TARGET = Target.of(LIVE, None, allow_plaintext=False)
ACCOUNT = Account.of(KEY, LIVE, None, lambda: 1_763_958_366.0, allow_plaintext=False)
PROXY = Proxy("http", "proxy.example", 3128, "user", "password")
TLS = ssl.create_default_context()
WRONG: Any = 5
"""A value of a wrong type."""

WRONG_LINK: Any = "1"

Provoke = Callable[[], object]
Ends = TypeVar("Ends", Connection, Session)


# --- the core ---


def asked_countdown() -> DeadManSwitch:
    """Return a dead man's switch that has sent its first request."""
    man = DeadManSwitch()
    man.poll(0.0)
    return man


def asked() -> Lease:
    """Return a lease that has asked its store."""
    lease = Lease(Budget(0))
    lease.wanted(1, 0.0)
    lease.poll(0.0)
    return lease


def open_store(store: str) -> None:
    with blocking_store(store, Ring("mine", 10)):
        pass


def connection(opened: bool = True, **limits: Any) -> Connection:
    conn = Connection(Config(**limits))
    if opened:
        conn.opened(0.0, login=LOGIN)
    return conn


def session(*, dialled: bool = False, **limits: Any) -> Session:
    made = Session(SessionConfig(link=Config(**limits)), jitter=lambda: 0.5)
    if dialled:
        made.poll(0.0)
    return made


def by_rest() -> Session:
    made = Session(SessionConfig(rest_after=1.0), jitter=lambda: 0.5)
    made.cancel(ORDER, 0.0)
    made.poll(0.0)
    made.poll(1.0)
    return made


def closed(core: Ends) -> Ends:
    core.close(0.0)
    core.close(0.0)
    return core


def twice(core: Any, id: str | None) -> None:
    for _ in range(2):
        core.cancel(ORDER, 0.0, id=id)


def raise_callers_error(made: Session) -> None:
    """Raise the exception of the next `CallerError`."""
    made.poll(0.0)
    made.lost(1, 0.0)
    while not isinstance(output := made.poll(0.0), CallerError):
        pass
    assert output.error is not None
    raise output.error


def frames_twice(core: Any) -> None:
    for _ in range(2):
        core.send("{}", 0.0)


def late() -> None:
    conn = connection()
    drain(conn, 0.0)
    conn.receive('{"event":"login","code":0}', 0.0)
    conn.cancel(ORDER, 0.0, id="a", timeout=1.0)
    drain(conn, 0.0)
    conn.handle_timeout(1.0)
    drain(conn, 1.0)
    conn.cancel(ORDER, 1.0, id="a")


def drain(conn: Connection, now: float) -> None:
    while not isinstance(conn.poll(now), Wait):
        pass


def exchange(*, opened: bool) -> ExchangeConnection:
    far_end = ExchangeConnection()
    if opened:
        far_end.opened(0.0)
    return far_end


def recorded_twice() -> None:
    record(record(Connection(), lambda _: None), print)


def record_wrong() -> None:
    record(WRONG, print)


def steps(lines: list[str]) -> None:
    for _ in Trace(lines):
        pass


HEAD: list[str] = []
record(Connection(), HEAD.append)


def of_instrument(inst_id: Any) -> Provoke:
    return lambda: CancelOrder(inst_id, order_id="1")


def of_order(order_id: Any) -> Provoke:
    return lambda: CancelOrder("BTCUSDT", order_id=order_id)


ORDERS: list[Provoke] = [
    *map(
        of_instrument,
        ("BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-250328", "BTCUSDT_UMCBL", "btcusdt"),
    ),
    *map(of_instrument, (" BTCUSDT", "BTC\x00USDT", "", WRONG)),
    *map(of_order, ("", "1\n", "a\nb", "1,2", "x" * 65, "1.37670E+18", "nan", WRONG, b"1")),
    lambda: CancelOrder("BTCUSDT", client_oid="ö"),
    lambda: CancelOrder("BTCUSDT"),
    lambda: CancelOrder("BTCUSDT", "1", inst_type=WRONG),
    lambda: CancelOrder("BTCUSDT", "1", inst_type="usdt-futures"),  # type: ignore[arg-type]
]

KEYS: list[Provoke] = [
    lambda: Credentials("", "s", "p"),
    lambda: Credentials("k", WRONG, "p"),
    lambda: Credentials("k", "s", ""),
    lambda: Credentials("k\n", "s", "p"),
    lambda: Credentials("k", '"s"', "p"),
    lambda: Credentials("k", "s", "\ufeffp"),
    lambda: sign_login(WRONG, 1763958366),
    lambda: sign_login(KEY, -1),
    lambda: sign_login(KEY, "1763958366"),  # type: ignore[arg-type]
    lambda: sign_login(KEY, 1763958366000),
    lambda: sign_login(Credentials("k", "-----BEGIN PRIVATE KEY-----", "p"), 1763958366),
    lambda: sign_login(Credentials("k", elliptic_key(), "p"), 1763958366),
]

LIMITS: list[Provoke] = [
    lambda: Config(login_timeout=0.0),
    lambda: Config(ping_interval=math.inf),
    lambda: Config(max_in_flight=0),
    lambda: Config(id_prefix="x" * 21),
    lambda: SessionConfig(policy=WRONG),
    lambda: SessionConfig(link=WRONG),
    lambda: SessionConfig(client_oids_unique=WRONG),
    lambda: SessionConfig(rotate_before=None),  # type: ignore[arg-type]
    lambda: SessionConfig(lifetime=60.0, rotate_before=60.0),
    lambda: SessionConfig(backoff_min=2.0, backoff_max=1.0),
    lambda: SessionConfig(rest_after=10.0),
    lambda: Budget(-1),
    lambda: Budget(10).debit(-1, 0.0),
    lambda: Budget(10).grant(-1, 1.0, 0.0),
    lambda: Budget(10).grant(1, math.nan, 0.0),
    lambda: Budget(10, pace_margin=-1.0),
    lambda: Lease(WRONG),
    lambda: Lease(Budget(0), 0),
    lambda: Lease(Budget(0)).wanted(-1, 0.0),
    lambda: Lease(Budget(0)).failed("timeout", 0.0),
    lambda: asked().granted(-math.inf, "", 0.0),
    lambda: asked().failed(WRONG, 0.0),
    lambda: Ring("", 10),
    lambda: Ring("mine", 1001),
    lambda: open_store(WRONG),
    lambda: open_store("127.0.0.1:6379"),
    lambda: Limits(open_timeout=-1.0),
    lambda: Limits(max_events=0),
]

CORE: list[Provoke] = [
    lambda: Codec("json"),  # type: ignore[arg-type]
    lambda: Codec().encode_cancel(WRONG, "1"),
    lambda: Codec().encode_cancel(ORDER, "a\tb"),
    lambda: Codec().encode_batch([ORDER], "1"),
    lambda: Codec(dialect="unified").encode_batch([], "1"),
    lambda: Codec(dialect="unified").encode_batch([ORDER, ORDER], "1"),
    lambda: RestCodec("v3"),  # type: ignore[arg-type]
    lambda: RestCodec().look_up(WRONG),
    lambda: RestCodec().look_up(OpenOrders(InstType.MARGIN)),
    lambda: RestCodec().cancel_by_symbol(InstType.USDT_FUTURES, "BTCUSDT"),
    lambda: RestCodec().cancel_by_symbol(InstType.SPOT, None),
    lambda: RestCodec(Dialect.UNIFIED).cancel_by_symbol(None, "BTCUSDT"),
    lambda: RestCodec().countdown(30),
    lambda: RestCodec("unified").countdown(4),
    lambda: DeadManSwitch(61),
    lambda: DeadManSwitch().failed(1, "timeout", 0.0),
    lambda: asked_countdown().failed(1, WRONG, 0.0),
    lambda: sign_request(KEY, WRONG, 1),
    lambda: sign_request(KEY, RestCodec().server_time(), 1_763_958_366),
    lambda: Codec().encode_subscribe([]),
    lambda: Codec().encode_subscribe([InstType.MARGIN]),
    lambda: Codec(dialect="v3"),  # type: ignore[arg-type]
    lambda: Codec().check_order(CancelOrder(order_id="1")),
    lambda: Codec().check_order(CancelOrder("BTCUSDT", "1", inst_type=InstType.MARGIN)),
    lambda: Codec().decode(WRONG),
    lambda: Connection(WRONG),
    lambda: connection().opened(1.0, login=LOGIN),
    lambda: connection(opened=False).opened(0.0, login=KEY),  # type: ignore[arg-type]
    lambda: connection(opened=False).opened(math.nan, login=LOGIN),
    lambda: connection().receive(WRONG, 0.0),
    lambda: connection().lost(0.0, unsent=WRONG),
    lambda: connection().cancel(WRONG, 0.0),
    lambda: connection().cancel(ORDER, 0.0, timeout=-1.0),
    lambda: twice(connection(), "a"),
    late,
    lambda: twice(connection(max_in_flight=1), None),
    lambda: connection(max_in_flight=1).cancel_many([ORDER, ORDER], 0.0),
    lambda: connection().cancel_many(WRONG, 0.0),
    lambda: connection().close(0.0, WRONG),
    lambda: connection().close(0.0, within=-1.0),
    lambda: own_id(connection()),
    lambda: closed(connection()).cancel(ORDER, 0.0),
    lambda: closed(connection()).send("{}", 0.0),
    lambda: frames_twice(connection(max_own_frames=1)),
    lambda: connection().send("", 0.0),
    lambda: connection().send("\ud800", 0.0),
    lambda: Session(WRONG, jitter=lambda: 0.5),
    lambda: ExchangeConnection(WRONG),
    lambda: Session(jitter=WRONG),
    lambda: raise_callers_error(Session(jitter=lambda: WRONG)),
    lambda: session().lost(WRONG_LINK, 0.0),
    lambda: session(dialled=True).lost(1, 0.0, retry_after=-1.0),
    lambda: session().lost(1, 0.0),
    lambda: session(dialled=True).lost(2, 0.0),
    lambda: session().poll(0.0, WRONG),
    lambda: session().rest_failed(1, "", 0.0),
    lambda: by_rest().rest_failed(WRONG_LINK, "", 0.0),
    lambda: by_rest().rest_failed(2, "", 0.0),
    lambda: by_rest().rest_failed(1, "", 0.0, unsent=WRONG),
    lambda: by_rest().rest_replied(1, WRONG, 0.0),
    lambda: session().cancel(WRONG, 0.0),
    lambda: session().cancel(ORDER, 0.0, timeout=-1.0),
    lambda: twice(session(), "a"),
    lambda: twice(session(max_in_flight=1), None),
    lambda: closed(session()).cancel(ORDER, 0.0),
    lambda: closed(session()).send("{}", 0.0),
    lambda: frames_twice(session(max_own_frames=1)),
    lambda: twice_opened(exchange(opened=True)),
    lambda: exchange(opened=False).say("{}", 0.0),
    lambda: exchange(opened=True).accept("1", 0.0),
    lambda: exchange(opened=True).accept_login(0.0),
    lambda: check_refusal("0"),
]

OUTCOME = Accepted("1", ORDER, 0.0, 0.0, 0.0, exchange_ts=None)


def tracked_twice() -> None:
    rec = Reconciler(ReconcilerConfig(max_tracked=1))
    for _ in range(2):
        rec.track(OUTCOME, 0.0)


def tracked_after_the_end() -> None:
    rec = Reconciler()
    rec.close(0.0)
    rec.track(OUTCOME, 0.0)


RECONCILER: list[Provoke] = [
    lambda: ReconcilerConfig(deadline=None),  # type: ignore[arg-type]
    lambda: Reconciler(WRONG),
    lambda: Reconciler().track(WRONG, 0.0),
    lambda: Reconciler().track(
        Unresolved("1", ORDER, 0.0, None, 0.0, sent=False, why=WhyUnresolved.CLOSED), 0.0
    ),
    tracked_twice,
    tracked_after_the_end,
    lambda: Reconciler().pushed(WRONG, 0.0),
    lambda: Reconciler().looked_up(1, WRONG, 0.0),
    lambda: Reconciler().failed(WRONG_LINK, "", 0.0),
]

TRACES: list[Provoke] = [
    lambda: record_wrong(),
    lambda: record(Connection(), WRONG),
    recorded_twice,
    lambda: record(connection(), print),
    lambda: Trace(""),
    lambda: Trace('{"trace":99}'),
    lambda: Trace("{}"),
    lambda: Trace('{"trace":1,"core":"Sessions"}'),
    lambda: steps([*HEAD, '{"n":1,"call":"jump"}\n']),
    lambda: steps([*HEAD, '{"n":3,"call":"close"}\n']),
    lambda: steps([*HEAD, "{\n", "{}\n"]),
    lambda: replay([*HEAD, '{"n":1,"call":"close","now":0.0,"then":1}\n']),
    lambda: replay([*HEAD, '{"n":1,"call":"cancel","now":0.0,"order":5}\n']),
]

TESTING: list[Provoke] = [
    lambda: VirtualClock().advance(-1.0),
    lambda: VirtualClock().advance_to(math.nan),
    lambda: ScriptedExchange().inject(WRONG),
    lambda: ScriptedExchange().inject_rest(WRONG),
    lambda: ScriptedExchange([ORDER]).place(ORDER, size=WRONG),
    lambda: ScriptedExchange([ORDER]).fill(ORDER, 0.0, "2"),
    lambda: ScriptedExchange().fill(ORDER, 0.0),
    lambda: check_driver(WRONG, ["gapp"]),
]


def own_id(conn: Connection) -> None:
    conn.cancel(ORDER, 0.0, id="mine")
    conn.send('{"op":"trade","args":[{"id":"mine","channel":"place-order"}]}', 0.0)


def elliptic_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def twice_opened(far_end: ExchangeConnection) -> None:
    far_end.opened(0.0)


# --- the transports ---


def url(text: Any, tls: Any = None) -> Provoke:
    return lambda: Target.of(text, tls, allow_plaintext=False)


def proxy(setting: Any) -> Provoke:
    return lambda: Target.of(LIVE, None, allow_plaintext=False, proxy=setting)


def raising(error: Exception) -> Provoke:
    def provoke() -> None:
        raise error

    return provoke


def verification() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


def tls_failure(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def refused(code: str | None, skew: float | None = None) -> Provoke:
    rejected = LoginRejected(
        code=code, code_class=CodeClass.of(code), message="what the exchange says", text="{}"
    )
    return raising(LoginRefused(rejected, skew))


def failed_race(*errors: OSError) -> AddressRace:
    """Return a race of two addresses: the first refused, and the second failed so, or is pending."""
    race = AddressBook().race(
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{number}", 443)) for number in (1, 2)
    )
    for error in (ConnectionRefusedError(111, ""), *errors):
        address = race.next(0.0)
        assert address is not None
        race.failed(address, error)
    race.next(0.0)
    return race


def ended(why: WhyClosed, detail: str) -> Provoke:
    return raising(login_error(TARGET, Closed(why=why, detail=detail)))


NUMBERS = (EMFILE, ENFILE, EACCES, EPERM, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, EADDRNOTAVAIL)

UNARMED = (
    (WhyNotRenewed.REFUSED, "40084"), (WhyNotRenewed.REFUSED, "25008"), (WhyNotRenewed.LATE, None),
)  # fmt: skip


def still_on() -> None:
    driver = GuardDriver(ACCOUNT, 30, True, None)
    driver.stopped = Stopped(disarmed=False, detail="no answer within 5.0 s")
    driver.check_stopped()


DIALS: list[Provoke] = [
    *map(url, (WRONG, "wss://a:b@c/", "http://127.0.0.1/", "wss://[", "wss://a b", "wss://1.2.3", "wss://a:0", "ws://example.org")),
    url(LIVE, WRONG),
    url("ws://127.0.0.1", TLS),
    lambda: check_sock(WRONG),
    lambda: check_unused(used=True),
    lambda: check_rest(WRONG, orders=True),
    lambda: check_rest(print, orders=False),
    lambda: check_rest(None, orders=WRONG),
    lambda: check_rounds(0),
    lambda: GuardDriver(ACCOUNT, 30, WRONG, None),
    lambda: GuardDriver(ACCOUNT, 30, True, None).guard.check(),
    lambda: GuardDriver(ACCOUNT, 30, True, None).check_stopped(),
    still_on,
    *(raising(_failure(NotRenewed(why=why, detail="a reason", code=code), 3)) for why, code in UNARMED),
    lambda: Confirmer(ACCOUNT, Dialect.CLASSIC).read(OneOrder(ORDER), WRONG),
    lambda: Account.of(KEY, LIVE, None, WRONG, allow_plaintext=False),
    lambda: Account.of(KEY, LIVE, None, lambda: WRONG.__class__, allow_plaintext=False),
    raising(could_not_connect(TARGET, verification())),
    raising(could_not_connect(TARGET, ssl.SSLError(1, "wrong version number"))),
    raising(could_not_connect(TARGET, tls_failure("UNSUPPORTED_PROTOCOL"))),
    raising(could_not_connect(TARGET, ConnectionResetError(ECONNRESET, ""))),
    raising(could_not_connect(TARGET, socket.gaierror(-2, "Name or service not known"))),
    raising(could_not_connect(TARGET, ConnectionRefusedError(ECONNREFUSED, ""))),
    *(raising(could_not_connect(TARGET, OSError(number, ""))) for number in NUMBERS),
    raising(could_not_connect(TARGET, failed_race(ConnectionRefusedError(111, "")).error())),
    raising(could_not_connect(TARGET, failed_race(OSError(101, "")).error())),
    raising(took_too_long(TARGET, Limits())),
    raising(took_too_long(TARGET, Limits(), failed_race())),
    raising(speaks_no_http(TARGET)),
    raising(ended_early(TARGET)),
    raising(answered_wrongly(TARGET, "HTTP/1.0 instead of HTTP/1.1")),
    *map(proxy, (WRONG, "nonsense:x", "https://a:b@c", "ftp://a", "http://a/b", f"socks5://{'a' * 256}@b")),
    lambda: unless_connected("http://a", WRONG, "sock"),
    lambda: Reporter(ChannelLog(ACCOUNT), WRONG),
    raising(could_not_connect(TARGET, ConnectionRefusedError(ECONNREFUSED, ""), PROXY)),
    raising(could_not_connect(TARGET, socket.gaierror(-2, "Name or service not known"), PROXY)),
    raising(took_too_long(TARGET, Limits(), None, PROXY)),
    raising(proxy_ended(PROXY, TARGET)),
    raising(proxy_refused(PROXY, TARGET, "HTTP status 403")),
    raising(proxy_wants_credentials(PROXY, TARGET, "HTTP status 407")),
    raising(proxy_wants_credentials(Proxy("http", "::1", 3128), TARGET, "HTTP status 407")),
    raising(proxy_sent_garbage(PROXY, "something that is not HTTP")),
    raising(no_login(Limits(), None)),
    raising(no_login(Limits(), speaks_no_http(TARGET))),
    ended(WhyClosed.LOGIN_TIMEOUT, "no answer to the login within 10.0 s"),
    ended(WhyClosed.LOST, "the exchange closed with code 1001"),
    *(raising(UpgradeRefused("ws.bitget.com", status)) for status in (*_UPGRADE_HINTS, 302, 503)),
    raising(UpgradeRefused("ws.bitget.com", 403, b"not from here\n")),
    *map(refused, (*_LOGIN_HINTS, "40014", "40200", None)),
    refused("30014", -45.0),
    refused("30013", 3600.0),
]  # fmt: skip


# --- the commands ---

WITHOUT_KEYS: tuple[Callable[[list[str]], int], str] = (command, "orders --instrument BTCUSDT 1")
COMMANDS: list[tuple[Callable[[list[str]], int], str]] = [
    (look, "encode --instrument BTCUSDT"),
    (look, "encode --instrument BTC/USDT --order-id 1"),
    (look, "decode no-such-file"),
    (look, "explain gone"),
    (look, "explain --jsn"),
    (kit, "nonsense"),
    (kit, "no_such_module:make_driver"),
    (kit, "mine/drivers.py:make_driver"),
    (kit, "bitget_proto:Conection"),
    (kit, "bitget_proto:__version__"),
    (kit, "bitget_proto:Connection --scenario gapp"),
    (command, "orders"),
    (command, "orders 1"),
    (command, "orders --instrument BTC/USDT 1"),
    (command, "orders --instrument BTCUSDT --file no-such-file"),
    (command, "orders --instrument BTCUSDT --file long.txt"),
    (command, "orders --instrument BTCUSDT x"),
    (command, "orders --instrument BTCUSDT --file attempts.csv"),
    (command, "orders --instrument BTCUSDT --file left.jsonl"),
    (command, "orders --instrument BTCUSDT --file none.jsonl"),
    (command, "orders --instrument BTCUSDT --inst-type MARGIN 1"),
    (command, "orders --instrument BTCUSDT --file refused.json"),
    (command, "orders --instrument BTCUSDT --timeout 0 1"),
    (command, "orders --instrument BTCUSDT --dry-run --record new.jsonl 1"),
    (command, "orders --instrument BTCUSDT --url ws://example.org 1"),
    (command, "orders --instrument BTCUSDT --url ws://127.0.0.1 --ca-file ca.pem 1"),
    WITHOUT_KEYS,
    (command, "orders --instrument BTCUSDT --credentials no-such-file 1"),
    (command, "orders --instrument BTCUSDT --credentials open.toml 1"),
    (command, "orders --instrument BTCUSDT --credentials half.toml 1"),
    (command, "orders --instrument BTCUSDT --credentials broken.toml 1"),
    (command, "orders --instrument BTCUSDT --credentials latin.toml 1"),
    (command, "orders --instrument BTCUSDT --credentials long.txt 1"),
    (command, "orders --instrument BTCUSDT --credentials keys.toml --record there.jsonl 1"),
    (command, "orders --instrument BTCUSDT --credentials keys.toml --record nowhere/new.jsonl 1"),
    (command, "orders --instrument BTCUSDT --credentials keys.toml --remaining there.jsonl 1"),
    (command, "orders --instrument BTCUSDT --credentials keys.toml --remaining nowhere/left 1"),
    (command, "orders --instrument BTCUSDT --credentials keys.toml --url ws://127.0.0.1:1 1"),
    (command, "all"),
    (command, "all --instrument BTC/USDT"),
    (command, "all --instrument BTCUSDT --inst-type MARGIN"),
    (command, "all --instrument BTCUSDT --credentials keys.toml"),
    (command, "orders --profile desk --instrument BTCUSDT 1"),
    (command, "orders --profile desk --config latin.toml --instrument BTCUSDT 1"),
    (command, "orders --profile desk --config long.txt --instrument BTCUSDT 1"),
    (command, "orders --profile desk --config broken.toml --instrument BTCUSDT 1"),
    (command, "orders --profile desk --config half.toml --instrument BTCUSDT 1"),
    (command, "orders --profile else --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile typo --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile wrong --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile named --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile proxied --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile both --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --profile part --config desk.toml --instrument BTCUSDT 1"),
    (command, "orders --config desk.toml --instrument BTCUSDT 1"),
    (command, "--profile desk demo"),
    (command, "guard --countdown 4"),
    (command, "guard --url wss://ws.bitget.com/v2/ws/private"),
    (command, "replay no-such-file"),
    (command, "replay there.jsonl"),
    (command, "replay --jsn there.jsonl"),
    (command, "exchange --port 65536"),
    (command, "exchange --fault slow"),
    (command, "exchange --fault silent:0"),
    (command, "exchange --orders no-such-file"),
]
PROGRAMS: dict[Callable[[list[str]], int], str] = {
    look: "python -m bitget_proto", kit: "python -m bitget_proto.testing", command: "bitget-cancel",
}  # fmt: skip
FILES = {
    "open.toml": b"", "ca.pem": b"", "there.jsonl": b"{}\n", "latin.toml": b"\xff", "long.txt": b"x" * 70_000,
    "attempts.csv": b"order_id,attempts\n1,x\n", "none.jsonl": b"", "left.jsonl": b'{"order_id":"1","attempts":1}\n',
    "refused.json": b'{"code":"40009","msg":"sign signature error","data":null}',
    "half.toml": b'api_key = "k"\n', "broken.toml": b'api_key = "k"\nsecret = k\n',
    "desk.toml": b'[typo]\nacount = "unified"\n[wrong]\naccount = "v3"\n[named]\nsecret_env = "hush"\n'
    b'[proxied]\nproxy = "http://user:hush@x"\n[both]\nurl = "wss://x/"\ndemo_trading = true\n[part]\nsecret_env = "A"\n',
    "keys.toml": b'api_key = "k"\nsecret = "s"\npassphrase = "p"\n',
}  # fmt: skip


class Terminal(StringIO):
    """A terminal that can show every character, as most can."""

    encoding = "utf-8"


def stderr_of(run: Callable[[list[str]], int], line: str) -> str:
    """The standard error of a command, and its exit code."""
    with (
        redirect_stdout(Terminal()),
        redirect_stderr(Terminal()) as said,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.stdin", StringIO())
        patch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
        code = run(line.split())
    lines = [text for text in said.getvalue().splitlines() if not text.startswith(("usage:", "  "))]
    assert code != 0
    assert lines, line
    return "\n".join(lines) + f"\n(exit code {code})"


def commands() -> str:
    names = ("BITGET_API_KEY", "BITGET_SECRET", "BITGET_PASSPHRASE")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    parts: list[str] = []
    with tempfile.TemporaryDirectory() as place, chdir(place):
        for name, content in FILES.items():
            Path(name).write_bytes(content)
            Path(name).chmod(0o644 if name == "open.toml" else 0o600)
        try:
            for run, line in COMMANDS:
                prog = PROGRAMS[run]
                parts.append(f"$ {prog} {line}\n{stderr_of(run, line)}")
            os.environ["BITGET_API_KEY"] = "k"
            parts.append(
                f"$ BITGET_API_KEY=k bitget-cancel {WITHOUT_KEYS[1]}\n{stderr_of(*WITHOUT_KEYS)}"
            )
        finally:
            os.environ.pop("BITGET_API_KEY", None)
            os.environ.update(before)
    return "\n\n".join(parts)


# --- all errors ---


def said(provoke: Provoke) -> str:
    """The class and message of the exception."""
    try:
        provoke()
    except (Exception, AssertionError) as error:  # noqa: BLE001 - any exception is wanted
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"nothing was raised by line {provoke.__code__.co_firstlineno}")


def text() -> str:
    parts = {
        "Orders": ORDERS, "Keys and the login": KEYS, "Limits": LIMITS, "Connection, session, codec": CORE,
        "Reconciler": RECONCILER, "Traces": TRACES,
        "Testing": TESTING, "No connection came about": DIALS,
    }  # fmt: skip
    blocks = [f"Every error that a user can meet; made by {COMMAND}"]
    for title, provokes in parts.items():
        blocks.append(f"=== {title} ===\n\n" + "\n".join(map(said, provokes)))
    blocks.append(f"=== At a shell ===\n\n{commands()}")
    return "\n\n\n".join(blocks) + "\n"


def test_the_error_messages_are_those_of_the_file() -> None:
    assert text() == PAGE.read_text("utf-8"), f"tests/messages.txt is out of date: run {COMMAND}"


def test_every_error_message_is_a_sentence_without_secrets() -> None:
    for line in PAGE.read_text("utf-8").splitlines():
        assert not line.endswith((" ", ".", ":", "got")), line
        assert not re.search(r"the-(key|secret|passphrase)|0x[0-9a-f]{6}|  ", line), line


def test_a_must_be_is_followed_by_got_and_the_value() -> None:
    lines = [
        line
        for line in PAGE.read_text("utf-8").splitlines()
        if re.match(r"ValidationError: [\w ]+ must ", line)
    ]
    assert len(lines) > 50
    for line in lines:
        # A return value is not "got"; a password is not repeated.
        assert re.search("; (got|it gave) ", line) or "url must hold no user, password" in line, (
            line
        )


NOT_SHOWN = {
    " accounts, and the dialect is ",
    ", and codec is for ",
    ", which serves ",
    ": pass a Codec with this dialect, or leave dialect out",
    ": pass dialect=",
    "codec must be a Codec, or None; got ",
    " answered the WebSocket handshake with ",
    ", which picows does not accept: use framing='websockets'",
    " could not connect to the embedded exchange: ",
    " of the trace is not valid: ",
    " unread outcomes hold the places of Config.max_in_flight: read channel.events",
    ", which was not taken",
    ". The iterable had yielded ",
    ": check its URL, and the credentials in it",
    "): pass another --port, or 0 for a free one",
    ": --ca-file needs a PEM file",
    ": invalid file name, or no input",
    ": on asyncio, leave it out",
    ": the JSON is longer than ",
    "cannot listen on port ",
    "cannot read certificates from ",
    "cannot read standard input: it is closed",
    "cannot write the output: standard output is closed",
    "client must be an httpx.AsyncClient, an httpx2.AsyncClient, or None; got ",
    "framing must be 'websockets' or 'picows'; got ",
    "limits must be a Limits, or None; got ",
    "no transport is installed: pip install 'bitget-proto[cli]' installs all",
    (
        "open() got no task group, and on trio every task needs one: pass a nursery or an "
        "anyio task group that outlives the channel"
    ),
    "task_group must be a trio nursery or an anyio task group; got ",
    (
        "the channel was used outside of the event loop that opened it; it may be used only "
        "there: from another thread, pass the call to that loop "
        "(asyncio.run_coroutine_threadsafe, anyio.from_thread.run), or open a channel in "
        "this one"
    ),
    (
        "the task of the channel was cancelled before a login was accepted: open it in an "
        "event loop, or a task group, that is not about to end"
    ),
    (
        "unread outcomes use up Config.max_in_flight: read "
        "channel.events, or continue the cancel_many that was started before"
    ),
    "selector must be callable and make a selector, such as selectors.DefaultSelector; got ",
    (
        "the channel is in use, by another thread or by the code that this call interrupts: allow one "
        "caller at a time"
    ),
    ", not yes: nothing was sent",
    "the answer was ",
    "the proxy of the client did not connect to ",
    "these outcomes are already awaited by another task: call cancel_many in each task",
    "tls was given with a client, which has its own: create the client with verify=tls",
}
"""Messages that need a socket, proxy, second task, closed terminal or large file; other tests cover them."""

ERRORS = {"LocalProtocolError", "ValidationError", "NoRoom", "ConnectFailed", "Failure", "_Failure"}


def literals(file: Path) -> list[str]:
    """The constant parts of the messages that a file raises."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ERRORS
            and node.args
        ):
            parts = (
                node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            )
            found += [
                p.value
                for p in parts
                if isinstance(p, ast.Constant) and isinstance(p.value, str) and len(p.value) > 11
            ]
    return found


def test_no_error_message_is_missing_from_the_file() -> None:
    page = PAGE.read_text("utf-8")
    elsewhere = {"testing", "exchange", "faults"}  # for tests: only programmers see their errors
    files = [
        file
        for package in ("src/bitget_proto", "src/transports/bitget_transports")
        for file in (ROOT / package).rglob("*.py")
        if not elsewhere & set(file.parts)
    ]
    assert len(files) > 60
    missing = {part for file in files for part in literals(file) if part not in page}
    assert missing == NOT_SHOWN, "provoke the new ones here"


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
