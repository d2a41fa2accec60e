"""The pytest fixture `bitget_exchange`: an embedded exchange that runs during a test.

pytest loads this plugin in every run where the package is installed, so it must import nothing but
pytest until the fixture is used. Each test gets its own exchange on its own port. It is stopped
after the test, and an error in it fails the test.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .exchange import ExchangeThread


@pytest.fixture
def bitget_exchange(request: pytest.FixtureRequest) -> Generator[ExchangeThread]:
    """A running exchange: an `ExchangeThread`. Connect any client to its `url`, with any key.

    Put orders into its book with `bitget_exchange.place(order)`. To start with a book, credentials
    or limits of your own, mark the test
    `@pytest.mark.bitget_exchange(orders=[...], credentials=..., config=...)`: the arguments are
    those of `ScriptedExchange`.
    """
    from bitget_proto.testing import ScriptedExchange

    from .exchange import exchange_in_thread

    marker = request.node.get_closest_marker("bitget_exchange")
    exchange = (
        ScriptedExchange() if marker is None else ScriptedExchange(*marker.args, **marker.kwargs)
    )
    with exchange_in_thread(exchange) as server:
        yield server


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "bitget_exchange(orders=(), *, credentials=None, ...): arguments of the fixture's ScriptedExchange",
    )
