"""Days that only real sockets can bring: an answer to the handshake, a peer that stops reading."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import bitget_transports.asyncio
from bitget_proto import CancelOrder, Credentials
from bitget_proto.testing import ScriptedExchange
from bitget_transports import UpgradeRefused
from bitget_transports.exchange import ExchangeServer
from chaos.days import judges
from chaos.days.day import Day, Given, Row, some_orders

_KEY = Credentials("key", "secret", "passphrase")
_RETRY_AFTER = 2
"""Seconds; without it the next dial follows within 0.5."""
