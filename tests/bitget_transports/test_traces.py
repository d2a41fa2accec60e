"""Every transport records a trace on request, and the trace can be replayed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bitget_proto import Accepted, CancelOrder, Credentials, Trace, ValidationError, replay
from bitget_proto.testing import ScriptedExchange
from bitget_transports import blocking
from bitget_transports.exchange import exchange_in_thread

KEY = Credentials("the-key-itself", "the-secret-itself", "the-passphrase-itself")
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(3)]


def over_blocking(url: str, trace: Callable[[str], object], *, session: bool) -> None:
    opening = blocking.open_session if session else blocking.connect
    with opening(KEY, url=url, trace=trace) as channel:
        assert all(isinstance(outcome, Accepted) for outcome in channel.cancel_many(ORDERS))


async def over_asyncio(url: str, trace: Callable[[str], object], *, session: bool) -> None:
    from bitget_transports import asyncio

    opening = asyncio.open_session if session else asyncio.connect
    async with opening(KEY, url=url, trace=trace) as channel:
        assert [isinstance(outcome, Accepted) async for outcome in channel.cancel_many(ORDERS)] == [
            True
        ] * 3


async def over_anyio(url: str, trace: Callable[[str], object], *, session: bool) -> None:
    from bitget_transports import anyio

    opening = anyio.open_session if session else anyio.connect
    async with opening(KEY, url=url, trace=trace) as channel:
        assert [isinstance(outcome, Accepted) async for outcome in channel.cancel_many(ORDERS)] == [
            True
        ] * 3


def run(flavour: str, url: str, trace: Callable[[str], object], *, session: bool) -> None:
    if flavour == "blocking":
        over_blocking(url, trace, session=session)
        return
    if flavour == "asyncio":
        import asyncio

        asyncio.run(over_asyncio(url, trace, session=session))
        return
    import anyio

    async def main() -> None:
        await over_anyio(url, trace, session=session)

    anyio.run(main, backend="trio" if flavour == "trio" else "asyncio")


@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
@pytest.mark.parametrize("flavour", ["blocking", "asyncio", "anyio", "trio"])
def test_a_run_over_a_real_socket_is_recorded_and_replayed(flavour: str, session: bool) -> None:
    lines: list[str] = []
    with exchange_in_thread(ScriptedExchange(ORDERS, credentials=KEY)) as exchange:
        run(flavour, exchange.url, lines.append, session=session)
    assert Trace(lines).core == ("Session" if session else "Connection")
    assert replay(lines) is None
    steps = [json.loads(line) for line in lines[1:]]
    assert [step["gave"]["kind"] for step in steps if step["call"] == "poll"].count("Accepted") == 3
    text = "".join(lines)
    assert not any(secret in text for secret in (KEY.api_key, KEY.secret, KEY.passphrase))


def test_a_trace_that_is_not_callable_is_refused_before_dialling() -> None:
    with (
        pytest.raises(ValidationError, match="write must be a function"),
        blocking.connect(KEY, url="ws://127.0.0.1:1", trace="a file"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ):
        pass
