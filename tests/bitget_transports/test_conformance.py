"""The conformance kit on every transport, in real time: our transports keep the driver contract.

For a single connection, and for sessions.

Two slow scenarios run on only one event loop of each kind; to run them on the others, use
`python -m bitget_proto.testing bitget_transports.conformance:uvloop`.
"""

from __future__ import annotations

import pytest
from tests.bitget_proto.testing.patience import BUSY

from bitget_proto.testing._kit.runner import OF_SESSIONS, SCENARIOS
from bitget_proto.testing.pytest import scenarios, session_scenarios
from bitget_transports import conformance

LONG = ("pace", "10,000 messages with a deadline due")

test_asyncio = scenarios(conformance.asyncio, patience=BUSY)
test_uvloop = pytest.mark.slow(scenarios(conformance.uvloop, patience=BUSY, without=LONG))
test_picows = pytest.mark.slow(scenarios(conformance.picows, patience=BUSY, without=LONG))
test_anyio_on_asyncio = scenarios(conformance.anyio, patience=BUSY, without=LONG)
test_anyio_on_trio = pytest.mark.slow(scenarios(conformance.trio, patience=BUSY))
test_blocking = scenarios(conformance.blocking, patience=BUSY)

ONE_LINK = [scenario.name for scenario in SCENARIOS]
SEVERAL_LINKS = [scenario.name for scenario in OF_SESSIONS]

test_session_on_asyncio = session_scenarios(conformance.asyncio, patience=BUSY, without=ONE_LINK)
test_session_on_uvloop = pytest.mark.slow(
    session_scenarios(conformance.uvloop, patience=BUSY, without=ONE_LINK)
)
test_session_on_picows = pytest.mark.slow(
    session_scenarios(conformance.picows, patience=BUSY, without=ONE_LINK)
)
test_session_on_anyio = session_scenarios(conformance.anyio, patience=BUSY, without=ONE_LINK)
test_session_on_trio = pytest.mark.slow(
    session_scenarios(conformance.trio, patience=BUSY, without=ONE_LINK)
)
test_session_on_blocking = session_scenarios(conformance.blocking, patience=BUSY, without=ONE_LINK)

test_each_link_on_asyncio = pytest.mark.slow(
    session_scenarios(conformance.asyncio, patience=BUSY, without=SEVERAL_LINKS)
)
test_each_link_on_anyio = pytest.mark.slow(
    session_scenarios(conformance.anyio, patience=BUSY, without=SEVERAL_LINKS)
)
test_each_link_on_blocking = pytest.mark.slow(
    session_scenarios(conformance.blocking, patience=BUSY, without=SEVERAL_LINKS)
)
