"""`python -I smoke.py EXTRA [URL ORDER_ID]`: use an extra in an environment without the others.

It runs as a file in its own environment and imports nothing from its folder. A failure is an
exception.
"""

from __future__ import annotations

import asyncio
import json
import sys
import sysconfig
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Credentials,
    Engine,
    decode,
    fastest,
    sign_login,
)

_KEY = Credentials("key", "secret", "passphrase")
_ACCEPTED = Accepted(
    "1",
    CancelOrder("BTCUSDT", order_id="7"),
    taken_at=0.0,
    sent_at=1.0,
    resolved_at=2.0,
    exchange_ts=None,
)
_FRAMES = (
    '{"event":"login","code":0}',
    (
        '{"event":"trade","arg":[{"id":"1","instType":"SPOT","channel":"cancel-order","instId":"BTCUSDT",'
        '"params":{"orderId":"7"}}],"code":0,"msg":"Success","ts":1763958366000}'
    ),
    '{"event":"error","arg":[{"id":"1"}],"code":43001,"msg":"The order does not exist"}',
    "pong",
    "no JSON",
)


def core() -> None:
    """Check the wheel alone.

    Both packages are the installed ones, and a cancel gets its outcome in virtual time.
    """
    from bitget_proto.testing import Pair, ScriptedExchange

    for package in ("bitget_proto", "bitget_transports"):
        found = Path(import_module(package).__file__ or "")
        assert found.is_relative_to(sysconfig.get_path("purelib")), found
    order = CancelOrder("BTCUSDT", order_id="7")
    pair = Pair(exchange=ScriptedExchange([order]))
    pair.open()
    assert isinstance(pair.outcomes[pair.cancel(order)], Accepted)


async def _cancel(transport: str, url: str, order_id: str, **options: str) -> None:
    async with import_module(f"bitget_transports.{transport}").connect(
        _KEY, url=url, **options
    ) as channel:
        outcome: Any = await channel.cancel(CancelOrder("BTCUSDT", order_id=order_id))
    assert isinstance(outcome, Accepted), outcome


def on_anyio(backend: str) -> Callable[[str, str], None]:
    """Return a smoke test over anyio on one of its event loops."""

    def smoke(url: str, order_id: str) -> None:
        import anyio

        anyio.run(_cancel, "anyio", url, order_id, backend=backend)

    return smoke


def on_asyncio(url: str, order_id: str) -> None:
    """Cancel over asyncio."""
    asyncio.run(_cancel("asyncio", url, order_id))


def on_uvloop(url: str, order_id: str) -> None:
    """Cancel over asyncio on uvloop's event loop."""
    import uvloop

    uvloop.run(_cancel("asyncio", url, order_id))


def picows(url: str, order_id: str) -> None:
    """Cancel over asyncio with picows."""
    asyncio.run(_cancel("asyncio", url, order_id, framing="picows"))


def blocking(url: str, order_id: str) -> None:
    """Cancel over a blocking socket."""
    from bitget_transports.blocking import connect

    with connect(_KEY, url=url) as channel:
        outcome = channel.cancel(CancelOrder("BTCUSDT", order_id=order_id))
    assert isinstance(outcome, Accepted), outcome


def engine(name: str) -> Callable[[], None]:
    """Check that a JSON engine decodes like the standard library."""

    def smoke() -> None:
        codec = Codec(Engine(name))
        assert fastest() is not Engine.STDLIB
        assert [codec.decode(frame) for frame in _FRAMES[:-1]] == [
            decode(frame) for frame in _FRAMES[:-1]
        ]
        assert type(codec.decode(_FRAMES[-1])) is type(decode(_FRAMES[-1]))

    smoke.__doc__ = engine.__doc__
    return smoke


def rsa() -> None:
    """Sign a login with an RSA key and verify the signature."""
    from base64 import b64decode

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    key = generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    signed = sign_login(Credentials("key", pem, "passphrase"), 1763958366)
    text = f"{signed.timestamp}GET/user/verify".encode()
    key.public_key().verify(b64decode(signed.sign), text, padding.PKCS1v15(), hashes.SHA256())


def socks() -> None:
    """Speak SOCKS5 to a proxy, without a socket."""
    from bitget_transports._driver.tunnel import Tunnel
    from bitget_transports._driver.url import Target

    target = Target.of(
        "wss://exchange.example/", None, allow_plaintext=False, proxy="socks5://127.0.0.1"
    )
    assert target.proxy is not None
    tunnel = Tunnel(target.proxy, target)
    assert tunnel.outgoing() == b"\x05\x01\x00"
    tunnel.receive(b"\x05\x00")
    assert b"exchange.example" in tunnel.outgoing()
    tunnel.receive(bytes((5, 0, 0, 1, 127, 0, 0, 1, 0, 1)))
    assert tunnel.opened


def prometheus() -> None:
    """Count an outcome with Prometheus."""
    from prometheus_client import CollectorRegistry, generate_latest

    from bitget_transports.telemetry.prometheus import PrometheusMetrics

    registry = CollectorRegistry()
    PrometheusMetrics(registry).channel("main")(_ACCEPTED, 2.0)
    assert b'outcome="accepted",reason=""} 1.0' in generate_latest(registry)


def opentelemetry() -> None:
    """Report an outcome to OpenTelemetry, of which nothing but the API is needed."""
    from bitget_transports.telemetry.opentelemetry import OpenTelemetry

    OpenTelemetry().channel("main")(_ACCEPTED, 2.0)


def exchange(*order_ids: str) -> None:
    """Serve these orders until standard input ends; then print the cancelled ones."""
    from bitget_proto.testing import ScriptedExchange
    from bitget_transports.exchange import exchange_in_thread

    orders = [CancelOrder("BTCUSDT", order_id=order_id) for order_id in order_ids]
    scripted = ScriptedExchange(orders, cancels_per_second=None)  # several tests at once
    with exchange_in_thread(scripted) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
    sys.stdout.write(
        json.dumps([act.order.order_id for act in scripted.log if act.cancelled]) + "\n"
    )


def cli() -> None:
    """Run the demonstration with the installed command."""
    import subprocess

    command = Path(sys.executable).with_name("bitget-cancel")
    done = subprocess.run(
        [command, "demo", "--json", "--orders", "20"], capture_output=True, text=True, check=True
    )
    runs, verdict = (
        map(json.loads, done.stdout.splitlines()[:-1]),
        json.loads(done.stdout.splitlines()[-1]),
    )
    assert {run["transport"] for run in runs} == {"anyio", "trio", "asyncio", "blocking"}, (
        done.stdout
    )
    assert verdict["holds"], verdict
    assert verdict["outcomes"] == 80, verdict


def rest() -> None:
    """Ask REST on a port where nothing listens, and answer a request of REST."""
    import h11
    import httpx

    from bitget_proto import RestCodec
    from bitget_transports._driver.rest import BlockingHttpxSender
    from bitget_transports._driver.url import Target

    assert h11.Connection(h11.SERVER).our_state is h11.IDLE
    target = Target.of("ws://127.0.0.1:1", None, allow_plaintext=False)
    try:
        BlockingHttpxSender(target)(RestCodec().server_time(), {})
    except httpx.ConnectError:
        return
    raise AssertionError("REST has answered")


def redis() -> None:
    """Ask a store on a port where nothing listens."""
    from redis import ConnectionError as RedisConnectionError

    from bitget_proto import Ask
    from bitget_transports._redis.ring import Ring
    from bitget_transports._redis.stores import blocking_store

    with blocking_store("redis://127.0.0.1:1", Ring("mine", 10)) as ask:
        try:
            ask(Ask(n=1, place=""))
        except RedisConnectionError:
            return
    raise AssertionError("the store has answered")


TRANSPORTS: dict[str, Callable[[str, str], None]] = {
    "anyio": on_anyio("asyncio"),
    "trio": on_anyio("trio"),
    "asyncio": on_asyncio,
    "blocking": blocking,
    "uvloop": on_uvloop,
    "picows": picows,
}
"""Smoke tests that cancel an order at an exchange in another environment."""

ALONE: dict[str, Callable[[], None]] = {
    "core": core,
    "msgspec": engine("msgspec"),
    "orjson": engine("orjson"),
    "rsa": rsa,
    "socks": socks,
    "prometheus": prometheus,
    "opentelemetry": opentelemetry,
    "cli": cli,
    "redis": redis,
    "rest": rest,
}
"""Smoke tests without an exchange."""


def main(what: str, *rest: str) -> None:
    """Test one extra."""
    if what == "exchange":
        exchange(*rest)
    elif what in TRANSPORTS:
        TRANSPORTS[what](*rest)
    else:
        ALONE[what](*rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
