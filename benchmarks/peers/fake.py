"""Fake sockets that answer what they are sent at once, with a reply that is put together and not looked at further.

It imports nothing but the standard library, since it is used with the peers' own interpreter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, Self


def part(name: str) -> Any:
    """A module of a peer, which no type checker need have."""
    return import_module(name)


def id_of(text: str, key: str) -> str:
    """The id in a request, wherever it stands."""
    return text.partition(f'"{key}":')[2].lstrip(' "').partition('"')[0]


def bitget(text: str) -> str:
    """What Bitget says to a V2 login or cancel."""
    if '"login"' in text:
        return '{"event":"login","code":0}'
    return (
        f'{{"event":"trade","arg":[{{"id":"{id_of(text, "id")}","instType":"SPOT","channel":"cancel-order",'
        '"instId":"BTCUSDT","params":{"orderId":"1376695893517410304"}}],"code":0,"msg":"Success","ts":1763958928351}'
    )


class FakeSocket:
    """What a client of `websockets` gives: `send` and `recv`. The answers wait in a queue."""

    def __init__(self, answer: Callable[[str], str], state: object = None) -> None:
        self._answer = answer
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self.state = state

    async def send(self, text: str) -> None:
        self._answers.put_nowait(self._answer(text))

    async def recv(self) -> str:
        return await self._answers.get()

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
