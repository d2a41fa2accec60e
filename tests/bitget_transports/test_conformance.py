"""The conformance kit on every transport, in real time: our transports keep the driver contract.

Two slow scenarios run on only one event loop of each kind; to run them on the others, use
`python -m bitget_proto.testing bitget_transports.conformance:uvloop`.
"""

from __future__ import annotations

import pytest
from tests.bitget_proto.testing.patience import BUSY

from bitget_proto.testing.pytest import scenarios
from bitget_transports import conformance

LONG = ("pace", "10,000 messages with a deadline due")

test_asyncio = scenarios(conformance.asyncio, patience=BUSY)
test_uvloop = pytest.mark.slow(scenarios(conformance.uvloop, patience=BUSY, without=LONG))
test_picows = scenarios(conformance.picows, patience=BUSY, without=LONG)
test_anyio_on_asyncio = scenarios(conformance.anyio, patience=BUSY, without=LONG)
test_anyio_on_trio = pytest.mark.slow(scenarios(conformance.trio, patience=BUSY))
test_blocking = scenarios(conformance.blocking, patience=BUSY)
