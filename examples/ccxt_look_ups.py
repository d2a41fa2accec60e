"""Find out what became of an order, with REST requests that ccxt's Bitget client sends.

Use this when your program already uses ccxt: look-ups then have its keys, its proxy and its rate
limit. `python ccxt_look_ups.py` cancels an order at the embedded exchange and confirms it.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped"
# pyright: basic, reportMissingImports=false

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import ccxt.async_support as ccxt

from bitget_proto import CancelOrder, Credentials, Dialect, Final, RestRequest
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.asyncio import connect
from bitget_transports.exchange import exchange_in_thread

APIS = {"/api/v2/spot/": "spot", "/api/v2/mix/": "mix", "/api/v3/": "uta"}
"""ccxt's name for the API under each path."""


def rest_of(
    client: ccxt.bitget,
) -> Callable[[RestRequest, Mapping[str, str]], Awaitable[tuple[int, bytes]]]:
    """Return a function for `rest=` of `connect` and `open_session`."""

    async def send(request: RestRequest, _: Mapping[str, str]) -> tuple[int, bytes]:
        api = next(name for start, name in APIS.items() if request.path.startswith(start))
        path, query = request.path.removeprefix("/api/"), dict(parse_qsl(request.query))
        try:
            # ccxt signs the request itself, with the keys of the client.
            answer = await client.request(path, ["private", api], request.method, query)
        except ccxt.RateLimitExceeded:
            return 429, b""
        except ccxt.ExchangeError as error:
            # The error's text is the name of the exchange, then the body. When there is no answer,
            # for example after a network failure, ccxt raises another error.
            return 400, str(error).partition(" ")[2].encode()
        return 200, json.dumps(answer).encode()

    return send


def client_for(origin: str, key: Credentials) -> Any:
    """Return a client of the exchange at this origin: the embedded one, or your own proxy."""
    client: Any = ccxt.bitget(
        {"apiKey": key.api_key, "secret": key.secret, "password": key.passphrase}
    )
    client.urls["api"] = dict.fromkeys(client.urls["api"], origin)
    return client


async def confirm(url: str, key: Credentials, order: CancelOrder) -> Final:
    """Cancel an order, and find out what became of it."""
    origin = url.replace("ws", "http", 1).removesuffix(Dialect.CLASSIC.path)
    client = client_for(origin, key)
    try:
        async with connect(key, url=url, orders=True, rest=rest_of(client)) as channel:
            return await channel.confirm(await channel.cancel(order))
    finally:
        await client.close()


def main() -> None:
    """Confirm a cancel whose push is lost."""
    key = Credentials("key", "secret", "passphrase")
    order = CancelOrder("BTCUSDT", order_id="1")
    exchange = ScriptedExchange([order], credentials=key)
    exchange.inject(Fault.NO_PUSH)
    with exchange_in_thread(exchange) as server:
        print(asyncio.run(confirm(server.url, key, order)))


if __name__ == "__main__":
    main()
