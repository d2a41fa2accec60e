"""Fake sockets that answer each request at once, with a reply built from a template.

This module imports only the standard library, because it runs in the peers' environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, Self


def part(name: str) -> Any:
    """Import a module of a peer. Type checkers may not have it."""
    return import_module(name)


def id_of(text: str, key: str) -> str:
    """Return the value of `key` in a request."""
    return text.partition(f'"{key}":')[2].lstrip(' "').partition('"')[0]


def bitget(text: str) -> str:
    """Return Bitget's answer to a V2 login or cancel."""
    if '"login"' in text:
        return '{"event":"login","code":0}'
    return (
        f'{{"event":"trade","arg":[{{"id":"{id_of(text, "id")}","instType":"SPOT","channel":"cancel-order",'
        '"instId":"BTCUSDT","params":{"orderId":"1376695893517410304"}}],"code":0,"msg":"Success","ts":1763958928351}'
    )


class FakeSocket:
    """A fake of a `websockets` connection, with a queue of answers."""

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
