"""Recognises instrument and product-line names of other clients, for hints in error messages.

Only spellings that are certainly another client's are recognised; a name that the exchange might
list is left alone. A part whose meaning is not certain is None.

Sources: the unified symbols of ccxt (BTC/USDT:USDT); the exchange's V1 API (BTCUSDT_SPBL,
BTCUSDT_UMCBL, BTCUSD_DMCBL, BTCPERP_CMCBL, with an S for demo trading: SBTCSUSDT_SUMCBL); the
symbols of OKX, KuCoin and Hummingbot (BTC-USDT, BTC-USDT-SWAP), of Gate and MEXC (BTC_USDT), of
Nautilus (BTCUSDT-PERP.BITGET) and of TradingView (BITGET:BTCUSDT.P).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_QUOTES = "USDT|USDC|USD|EUR|BRL|BTC|ETH|BGB"

_of_ccxt = re.compile(
    r"(?P<base>[^/:]+)/(?P<quote>[^/:]+?)(:(?P<settle>[^/:-]+)(?P<dated>-.+)?)?"
).fullmatch
_of_v1 = re.compile(
    r"(?P<name>.+?)_(?P<demo>S?)(?P<line>SPBL|UMCBL|DMCBL|CMCBL)(?P<dated>_[0-9]+)?(?:[_-](?:UTA|MABL))?"
).fullmatch
_in_parts = re.compile(
    rf"(?P<base>[^\s._-]+)[\s._-]+(?P<quote>{_QUOTES})(?:[._-](?P<kind>SPOT|SWAP|PERP|PERPETUAL|P))?"
).fullmatch
_with_kind = re.compile(
    rf"(?P<base>[^\s._-]+?)(?P<quote>{_QUOTES})[._-](?P<kind>SPOT|SWAP|PERP|PERPETUAL|P)"
).fullmatch
_of_v1_demo = re.compile(r"S(.+)S(USDT|USD|PERP)").fullmatch
_venue = re.compile(r"BITGET:|\.BITGET$")

_V1_LINES: Mapping[str, str] = MappingProxyType({
    "SPBL": "SPOT", "UMCBL": "USDT_FUTURES", "DMCBL": "COIN_FUTURES", "CMCBL": "USDC_FUTURES",
})  # fmt: skip

_LINES: Mapping[str, str] = MappingProxyType({
    name: line
    for line, names in {
        "SPOT": "SPOT SP SPBL",
        "USDT_FUTURES": "USDTFUTURES SUSDTFUTURES UMCBL SUMCBL LINEAR USDTM USDT",
        "COIN_FUTURES": "COINFUTURES SCOINFUTURES DMCBL SDMCBL INVERSE COINM COIN",
        "USDC_FUTURES": "USDCFUTURES SUSDCFUTURES CMCBL SCMCBL USDCM USDC",
    }.items()
    for name in names.split()
})  # fmt: skip


class Meant(NamedTuple):
    """The meaning of another client's name; a part that the name does not contain is None."""

    inst_id: str | None
    """The exchange's name of the instrument."""

    inst_type: str | None
    """The name of the `InstType` member."""


def meant_instrument(text: str) -> Meant | None:
    """Return the meaning of another client's name of an instrument; None for any other name."""
    name = text
    if re.search("[a-z]", name) and not re.search("[A-Z]", name):
        name = _upper(name)
    name = _venue.sub("", name)
    if match := _of_ccxt(name):
        return _meant(match["base"], match["quote"], match["settle"], dated=bool(match["dated"]))
    if match := _of_v1(name):
        own = match["name"]
        if match["demo"] and (demo := _of_v1_demo(own)):
            own = demo[1] + demo[2]
        return Meant(None if match["dated"] else own, _V1_LINES[match["line"]])
    if match := _in_parts(name) or _with_kind(name):
        base, quote, kind = match["base"], match["quote"], match["kind"]
        if kind is None:
            return Meant(base + quote, None)
        if kind == "SPOT":
            return Meant(base + quote, "SPOT")
        return _meant(base, quote, base if quote == "USD" else quote, dated=False)
    if "/" in name or ":" in name:
        return Meant(None, None)
    return None if name == text else Meant(name, None)


def meant_product_line(text: str) -> str | None:
    """Return the name of the `InstType` member for a product line; None if that is not certain."""
    return _LINES.get(re.sub("[^A-Z]", "", _upper(text)))


def _upper(text: str) -> str:
    """Return the text with its ASCII letters in upper case."""
    return re.sub("[a-z]+", lambda match: match[0].upper(), text)


def _meant(base: str, quote: str, settle: str | None, *, dated: bool) -> Meant:
    """Return the meaning of a pair, whose settlement coin decides the product line."""
    if settle is None:
        return Meant(base + quote, None)
    if settle == "USDT":
        name, line = base + quote, "USDT_FUTURES"
    elif settle == "USDC":
        # The name of the perpetual contract settled in USDC is BTCPERP.
        name, line = base + "PERP", "USDC_FUTURES"
    elif quote == "USD":
        name, line = base + quote, "COIN_FUTURES"
    else:
        return Meant(None, None)
    return Meant(None if dated else name, line)
