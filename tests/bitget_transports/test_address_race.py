"""`AddressBook` and `AddressRace`: the order of a host's addresses, and when each is dialled."""

from __future__ import annotations

import errno
import socket
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from bitget_transports import Limits
from bitget_transports._driver.address_race import (
    DELAY,
    Address,
    AddressBook,
    AddressesFailed,
    AddressRace,
)
from bitget_transports._driver.connect_errors import could_not_connect, took_too_long
from bitget_transports._driver.url import Target

TARGET = Target.of("ws://exchange.test:9/", None, allow_plaintext=True)


def v4(number: int) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{number}", 9)


def v6(number: int) -> Address:
    return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"2001:db8::{number}", 9, 0, 0)


def refused() -> OSError:
    return OSError(errno.ECONNREFUSED, "refused")


def unreachable() -> OSError:
    return OSError(errno.ENETUNREACH, "asyncio's own text")


def order(race: AddressRace) -> list[Address]:
    """Return the addresses in the order in which they are tried when each one fails."""
    tried: list[Address] = []
    while (address := race.next(0.0)) is not None:
        tried.append(address)
        race.failed(address, refused())
    return tried


def test_families_alternate_and_duplicates_are_dropped() -> None:
    given_by_system = [v6(1), v6(1), v6(2), v6(3), v4(1), v4(2), v4(1)]
    assert order(AddressBook().race(given_by_system)) == [v6(1), v4(1), v6(2), v4(2), v6(3)]


def test_an_attempt_begins_when_the_last_one_has_had_its_time_or_has_failed() -> None:
    race = AddressBook().race([v4(1), v4(2), v4(3), v4(4)])
    assert race.next(10.0) == v4(1)
    assert race.next(10.0 + DELAY / 2) is None
    assert race.until == 10.0 + DELAY
    assert race.next(race.until) == v4(2)
    race.failed(v4(1), refused())
    assert race.next(10.3) == v4(3)
    assert race.next(10.3) is None
    assert race.next(10.3 + DELAY) == v4(4)
    assert race.until == inf
    assert not race.exhausted


def test_nothing_begins_after_the_first_connection() -> None:
    race = AddressBook().race([v4(1), v4(2), v4(3)])
    race.next(0.0)
    race.next(DELAY)
    assert race.connected(v4(2))
    assert not race.connected(v4(1))
    assert race.winner == v4(2)
    assert race.until == inf
    assert race.next(9.0) is None


def test_the_address_that_served_last_comes_first() -> None:
    book = AddressBook()
    addresses = [v6(1), v4(1), v6(2)]
    for serving in (v6(2), v4(1)):
        assert book.race(addresses).connected(serving)
        book.served(serving)
    assert order(book.race(addresses)) == [v4(1), v6(1), v6(2)]


def test_an_address_that_connects_and_never_serves_comes_last() -> None:
    book = AddressBook()
    addresses = [v4(1), v4(2), v4(3)]
    book.served(v4(1))
    turns: list[Address] = []
    for _ in range(6):
        race = book.race(addresses)
        first = race.next(0.0)
        assert first is not None
        race.connected(first)
        turns.append(first)
    assert turns == 2 * [v4(1), v4(2), v4(3)]


def test_addresses_that_the_name_no_longer_has_are_forgotten() -> None:
    book = AddressBook()
    book.served(v4(2))
    book.race([v4(1)])
    assert order(book.race([v4(1), v4(2)])) == [v4(1), v4(2)]


def test_a_single_failure_is_raised_as_it_is() -> None:
    race = AddressBook().race([v4(1)])
    error = refused()
    race.next(0.0)
    race.failed(v4(1), error)
    assert race.exhausted
    assert race.error() is error
    assert race.progress() == ""


def test_a_name_without_addresses_is_an_error() -> None:
    race = AddressBook().race([])
    assert race.exhausted
    assert "no address" in str(race.error())


def test_the_error_of_several_addresses_names_each_and_how_it_failed() -> None:
    race = AddressBook().race([v6(1), v4(1)])
    for error in (unreachable(), refused()):
        address = race.next(0.0)
        assert address is not None
        race.failed(address, error)
    failure = race.error()
    assert isinstance(failure, AddressesFailed)
    assert str(could_not_connect(TARGET, failure)) == (
        "no connection to exchange.test:9 (2001:db8::1: Network is unreachable; "
        "192.0.2.1: Connection refused): check the network and the URL"
    )


def test_the_error_of_several_addresses_that_all_refuse_says_so_once() -> None:
    race = AddressBook().race([v6(1), v4(1)])
    assert order(race) == [v6(1), v4(1)]
    assert str(could_not_connect(TARGET, race.error())) == (
        "exchange.test:9 refused the connection: nothing listens there "
        "(tried 2001:db8::1, 192.0.2.1); check the URL and its port"
    )


def test_the_error_of_a_timeout_names_the_addresses_that_did_not_answer() -> None:
    race = AddressBook().race([v6(1), v4(1), v4(2)])
    race.next(0.0)
    race.failed(v6(1), unreachable())
    race.next(0.0)
    assert str(took_too_long(TARGET, Limits(), race)).startswith(
        "exchange.test:9 did not open a WebSocket within 10.0 s (2001:db8::1: Network is "
        "unreachable; no answer from 192.0.2.1): check the network"
    )
    race.connected(v4(1))
    assert "(" not in str(took_too_long(TARGET, Limits(), race))


@given(st.data())
def test_any_schedule_tries_each_address_at_most_once_and_has_at_most_one_winner(
    data: st.DataObject,
) -> None:
    numbers = st.integers(1, 4)
    book = AddressBook()
    names = data.draw(st.lists(st.builds(v4, numbers) | st.builds(v6, numbers), max_size=8))
    for served in data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else ():
        book.served(served)
    race = book.race(names)
    now, due = 0.0, 0.0
    pending: list[Address] = []
    tried: list[Address] = []
    winners: list[Address] = []
    while not race.exhausted and (pending or race.until < inf):
        step = data.draw(st.sampled_from(["wait", "fail", "connect"] if pending else ["wait"]))
        if step == "wait":
            now += data.draw(st.floats(0.0, 2 * DELAY))
            address = race.next(now)
            # One begins exactly when it is due, unless there is a winner or no address is left.
            assert (address is not None) == (
                now >= due and not winners and len(tried) < len(set(names))
            )
            if address is not None:
                tried.append(address)
                pending.append(address)
                due = now + DELAY
        else:
            address = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            if step == "fail":
                race.failed(address, refused())
                due = -inf
            elif race.connected(address):
                winners.append(address)
    assert len(winners) <= 1
    assert race.winner == (winners[0] if winners else None)
    assert len(set(tried)) == len(tried)
    assert set(tried) <= set(names)
    if race.exhausted:
        assert set(tried) == set(names)
        assert not winners
