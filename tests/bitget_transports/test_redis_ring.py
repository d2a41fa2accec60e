"""The script of the ring, on a real Redis server."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Generator
from typing import Any

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError
from redis.asyncio import Redis as AsyncRedis

from bitget_proto import Ask, ValidationError
from bitget_transports._redis.ring import SCRIPT, Ring
from bitget_transports._redis.stores import Question, asyncio_store, blocking_store

from .redis_server import RedisServer, redis_server

LEASE, SPACING = 0.02, 1.07


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def ask(server: RedisServer) -> Generator[Question]:
    """Ask for an account of which the server knows that it was idle for a minute."""
    server.flush()
    with blocking_store(server.url, Ring("mine", 10)) as ask:
        ask(Ask(n=0, place=""))
        with server.client() as client:
            run, since = _since(client)
            client.set("bitget-proto:{mine}:since", f"{run}/{since - 60_000_000}")
        yield ask


def _since(client: Any) -> tuple[str, int]:
    known = client.get("bitget-proto:{mine}:since")
    assert isinstance(known, bytes)
    run, _, since = known.decode().partition("/")
    return run, int(since)


def moment(place: str) -> float:
    """Return the moment of a place on the server's clock."""
    return int(place.partition("/")[2]) / 1e6


def test_as_many_as_the_limit_leave_at_once_and_the_next_after_a_second(ask: Question) -> None:
    answers = [ask(Ask(n=1, place="")) for _ in range(11)]
    assert [delay for delay, _ in answers[:10]] == [0.0] * 10
    assert 0.5 < answers[10][0] <= SPACING
    moments = [moment(place) for _, place in answers]
    assert moments == sorted(moments)
    assert moments[10] - moments[0] == pytest.approx(SPACING, abs=1e-5)


def test_several_are_booked_at_one_moment_at_which_the_last_of_them_fits(ask: Question) -> None:
    first = [moment(ask(Ask(n=4, place=""))[1]) for _ in range(2)]
    delay, place = ask(Ask(n=3, place=""))
    assert delay > 0.5
    assert moment(place) == pytest.approx(first[0] + SPACING, abs=1e-5)
    for _ in range(3):
        _, after = ask(Ask(n=1, place=""))
        assert moment(after) == pytest.approx(first[0] + SPACING, abs=1e-5)
    _, second = ask(Ask(n=1, place=""))
    assert moment(second) == pytest.approx(first[1] + SPACING, abs=1e-5)


def test_a_place_is_redeemed_until_its_moment_and_then_booked_anew(ask: Question) -> None:
    ask(Ask(n=10, place=""))
    delay, place = ask(Ask(n=1, place=""))
    nearer, same = ask(Ask(n=1, place=place))
    assert same == place
    assert 0.5 < nearer < delay
    time.sleep(nearer)
    late, same = ask(Ask(n=1, place=place))
    assert same == place
    assert -LEASE <= late <= 0.0
    time.sleep(LEASE)
    assert ask(Ask(n=1, place=place))[1] != place


def test_an_empty_server_counts_as_full(server: RedisServer, ask: Question) -> None:
    ask(Ask(n=1, place=""))
    server.flush()
    delay, place = ask(Ask(n=1, place=""))
    assert delay == pytest.approx(2 * LEASE + SPACING - LEASE)
    assert moment(place) - int(place.partition("/")[0]) / 1e6 == pytest.approx(SPACING, abs=1e-5)


def test_a_place_of_a_server_that_has_forgotten_is_worth_nothing(
    server: RedisServer, ask: Question
) -> None:
    ask(Ask(n=10, place=""))
    _, place = ask(Ask(n=1, place=""))
    server.flush()
    delay, anew = ask(Ask(n=1, place=place))
    assert anew != place
    assert delay == pytest.approx(2 * LEASE + SPACING - LEASE)


def test_what_another_server_process_wrote_counts_as_forgotten(
    server: RedisServer, ask: Question
) -> None:
    with server.client() as client:
        client.set("bitget-proto:{mine}:since", f"{'0' * 40}/{_since(client)[1]}")
    assert ask(Ask(n=1, place=""))[0] > 1.0


def test_a_server_that_is_started_again_is_given_the_script_and_counts_as_full(
    server: RedisServer, ask: Question
) -> None:
    server.kill()
    with pytest.raises(RedisConnectionError):
        ask(Ask(n=1, place=""))
    server.start()
    assert ask(Ask(n=1, place=""))[0] > 1.0


def test_moments_far_ahead_are_of_a_clock_that_was_set_back(
    server: RedisServer, ask: Question
) -> None:
    _, place = ask(Ask(n=1, place=""))
    ahead = int((moment(place) + 3600.0) * 1e6)
    with server.client() as client:
        client.rpush("bitget-proto:{mine}:moments", *[str(ahead)] * 10)
    assert ask(Ask(n=1, place=""))[0] == pytest.approx(2 * LEASE + SPACING - LEASE)


def test_the_keys_never_expire_and_the_ring_is_bounded(server: RedisServer, ask: Question) -> None:
    with server.client() as client:
        client.rpush("bitget-proto:{mine}:moments", *["1"] * 1500)
        ask(Ask(n=10, place=""))
        assert client.llen("bitget-proto:{mine}:moments") == 1000
        for name in ("moments", "since"):
            assert client.ttl(f"bitget-proto:{{mine}}:{name}") == -1


def test_accounts_do_not_share(server: RedisServer, ask: Question) -> None:
    ask(Ask(n=10, place=""))
    with blocking_store(server.url, Ring("other", 10)) as other:
        other(Ask(n=0, place=""))
    with server.client() as client:
        assert sorted(client.keys()) == [
            b"bitget-proto:{mine}:moments",
            b"bitget-proto:{mine}:since",
            b"bitget-proto:{other}:since",
        ]


def test_the_asyncio_client_gets_the_same_answers(server: RedisServer, ask: Question) -> None:
    async def main() -> None:
        async with asyncio_store(server.url, Ring("mine", 10)) as ask_too:
            assert (await ask_too(Ask(n=1, place="")))[0] == 0.0
        assert ask(Ask(n=9, place=""))[0] == 0.0
        async with AsyncRedis(port=server.port, decode_responses=True) as client:
            async with asyncio_store(client, Ring("mine", 10)) as ask_too:
                assert (await ask_too(Ask(n=1, place="")))[0] > 0.5
            async with asyncio_store(client, Ring("mine", 10)) as ask_too:
                assert (await ask_too(Ask(n=1, place="")))[0] > 0.5

    asyncio.run(main())


def test_a_client_of_the_caller_is_not_closed(server: RedisServer, ask: Question) -> None:
    with server.client() as client:
        with blocking_store(client, Ring("mine", 10)) as mine:
            assert mine(Ask(n=1, place=""))[0] == 0.0
        assert client.connection_pool._available_connections, "still connected"


def test_our_clients_dial_once_and_give_up_a_server_that_is_frozen(server: RedisServer) -> None:
    async def main() -> None:
        async with asyncio_store(server.url, Ring("mine", 10)) as ask_too:
            with pytest.raises(RedisTimeoutError):
                await ask_too(Ask(n=1, place=""))

    server.freeze()
    try:
        with (
            blocking_store(server.url, Ring("mine", 10)) as ask,
            pytest.raises(RedisTimeoutError),
        ):
            ask(Ask(n=1, place=""))
        asyncio.run(main())
    finally:
        server.thaw()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(0.0)
        with (
            blocking_store(f"redis://127.0.0.1:{deaf.getsockname()[1]}", Ring("mine", 10)) as ask,
            pytest.raises(RedisTimeoutError),
        ):
            ask(Ask(n=1, place=""))
        deaf.accept()[0].close()
        with pytest.raises(BlockingIOError):
            deaf.accept()


@pytest.mark.parametrize("account", ["", "a{b", "}", None])
def test_an_account_must_be_a_name(account: str) -> None:
    with pytest.raises(ValidationError, match="account must be a name"):
        Ring(account, 10)


def test_the_store_must_be_a_url_or_a_client() -> None:
    for store in (None, "localhost:6379"):
        with (
            pytest.raises(ValidationError, match="store"),
            blocking_store(store, Ring("mine", 10)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ):
            pass
    with pytest.raises(ValidationError, match="at most 1000"):
        Ring("mine", 1001)


def test_the_numbers_in_the_script_are_those_of_the_lease() -> None:
    from bitget_proto._machine import lease

    assert f"lease, spacing, far = {lease.LEASE * 1e6:.0f}, {lease.SPACING * 1e6:.0f}," in SCRIPT
