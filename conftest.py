"""Runs the Python of README and docs as tests: what a page shows is what happens.

Also the settings that all tests share.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import pytest
import trustme
from hypothesis import settings
from sybil import Document, Region, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# No test asserts a time: the machine has other things to do.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_running = ExitStack()


def _with_exchange(namespace: dict[str, Any]) -> None:
    """The quickstart talks to an exchange: the embedded one, where any key is welcome."""
    from bitget_proto import CancelOrder, Credentials
    from bitget_proto.testing import ScriptedExchange
    from bitget_transports.exchange import exchange_in_thread

    orders = [CancelOrder("BTCUSDT", order_id=f"100000{number}") for number in (1, 2)]
    orders += [CancelOrder("BTCUSDT", client_oid=f"mine-{number}") for number in range(5, 9)]
    namespace["KEY"] = Credentials("key", "secret", "passphrase")
    namespace["URL"] = _running.enter_context(exchange_in_thread(ScriptedExchange(orders))).url


def _without(namespace: dict[str, Any]) -> None:  # noqa: ARG001 - Sybil passes it
    _running.close()


_parsers: Sequence[Callable[[Document], Iterable[Region]]] = [PythonCodeBlockParser(), SkipParser()]

pytest_collect_file = (
    Sybil(
        parsers=_parsers,
        patterns=["docs/quickstart.md"],
        setup=_with_exchange,
        teardown=_without,
    )
    + Sybil(parsers=_parsers, patterns=["README.md", "docs/*.md"], excludes=["docs/quickstart.md"])
).pytest()


@pytest.fixture(scope="session", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority instead of the system's hundred: to load those takes 50 ms for each context."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        patch.setenv("SSL_CERT_DIR", str(path.parent))
        yield


def pytest_collection_finish(session: pytest.Session) -> None:  # noqa: ARG001 - a hook's name
    """The tests themselves are no garbage: a collection that looks at them takes 0.2 s."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `pytest -n 2` each test goes to the next free process; the snippets of a page, which build on each other, go to one.

    (A mark `xdist_group` would say so too, if pytest-xdist 3.8 could change the names of tests under pytest 9.2.)
    """
    scheduling = import_module("xdist.scheduler").LoadScopeScheduling(
        config, log
    )  # which has no types

    def split_scope(nodeid: str) -> str:
        page = nodeid.partition("::")[0]
        return page if page.endswith(".md") else nodeid

    scheduling._split_scope = split_scope
    return scheduling
