"""The router of a channel: where outcomes go, what is kept, and what frees capacity.

No socket, and the time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Config,
    Connection,
    Credentials,
    Dial,
    ExchangeError,
    Hangup,
    NoRoom,
    Outcome,
    Transmit,
    Unrecognised,
    Unresolved,
    ValidationError,
    Wait,
    WhyClosed,
    WhyUnresolved,
    sign_login,
)
from bitget_transports import Dropped, Limits
from bitget_transports._driver.outcome_router import OutcomeRouter, Waiter
from bitget_transports._driver.single_link import ONLY_LINK, SingleLink

LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)


def order(number: int) -> CancelOrder:
    return CancelOrder("BTCUSDT", order_id=str(number))


class Harness:
    """A logged-in connection and its router, driven by hand."""

    def __init__(
        self,
        max_in_flight: int | None = 3,
        max_events: int | None = 4,
        max_event_chars: int | None = None,
    ) -> None:
        config = Config(
            messages_per_second=None, max_in_flight=max_in_flight, ping_interval=None, id_prefix=""
        )
        self.core = SingleLink(Connection(config))
        self.router = OutcomeRouter(
            self.core, Limits(max_events=max_events, max_event_chars=max_event_chars), ""
        )
        self.sent: list[str] = []
        self.woken = 0
        self.drain()
        self.core.opened(ONLY_LINK, 0.0, login=LOGIN)
        self.drain()
        self.say('{"event":"login","code":0}')
        self.sent.clear()

    def drain(self) -> None:
        while not isinstance(output := self.core.poll(0.0), Wait):
            if isinstance(output, Transmit):
                self.sent += output.ids
            elif not isinstance(output, (Dial, Hangup)):
                self.router.dispatch(output)

    def say(self, text: str) -> None:
        self.core.receive(ONLY_LINK, text, 0.0)
        self.drain()

    def answer(self, *ids: str) -> None:
        for id in ids:
            self.say(f'{{"event":"trade","arg":[{{"id":"{id}"}}],"code":0,"msg":"Success"}}')

    def waiter(self, orders: Iterator[CancelOrder] | None = None) -> Waiter:
        def wake() -> None:
            self.woken += 1

        return Waiter(wake, orders)

    def cancel(self, waiter: Waiter, id: str) -> None:
        self.router.cancel(waiter, order(1), 0.0, id)
        self.drain()

    def fill(self, waiter: Waiter) -> None:
        while self.router.submit_next_order(waiter, 0.0, None):
            self.drain()

    def events(self) -> list[object]:
        found: list[object] = []
        while (event := self.router.pop_event()) is not None:
            found.append(event)
        return found


def ids(events: list[object]) -> list[str]:
    return [event.id for event in events if isinstance(event, Accepted | Unresolved)]


def pop_outcomes(harness: Harness, waiter: Waiter) -> list[Outcome]:
    return [harness.router.pop_outcome(waiter) for _ in range(len(waiter.outcomes))]


def test_each_outcome_goes_to_its_waiter() -> None:
    harness = Harness()
    one, other = harness.waiter(), harness.waiter()
    harness.cancel(one, "a")
    harness.cancel(other, "b")
    harness.answer("b", "a")
    assert (
        [outcome.id for outcome in pop_outcomes(harness, one)],
        [outcome.id for outcome in pop_outcomes(harness, other)],
    ) == (
        ["a"],
        ["b"],
    )
    assert (harness.woken, harness.events(), harness.router.room) == (2, [], 3)


def test_breaking_off_resolves_every_cancel_as_sent_and_ends_once() -> None:
    harness = Harness()
    one, many = harness.waiter(), harness.waiter(iter([order(2), order(3)]))
    harness.cancel(one, "a")
    harness.fill(many)
    harness.router.abandon(one)
    harness.answer("1")
    closed = Closed(why=WhyClosed.LOST, detail="interrupted")
    for _ in ("once", "again"):
        harness.router.settle_all(5.0, closed)
    answered, owed = pop_outcomes(harness, many)
    assert isinstance(answered, Accepted)
    abandoned, end = harness.events()
    assert end == harness.router.closed == closed
    assert (owed, abandoned) == tuple(
        Unresolved(
            id=id,
            order=order(number),
            taken_at=0.0,
            sent_at=0.0,
            resolved_at=5.0,
            sent=True,
            why=WhyUnresolved.INTERRUPTED,
        )
        for id, number in (("2", 3), ("a", 1))
    )
    assert many.expected == 0


def test_breaking_off_does_not_repeat_earlier_outcomes() -> None:
    harness = Harness()
    waiter = harness.waiter()
    harness.cancel(waiter, "a")
    entry = harness.router._waiting["a"]
    harness.answer("a")
    closed = Closed(why=WhyClosed.ASKED, detail="")
    harness.router.dispatch(closed)
    # As if an interrupt had come after each arrival.
    harness.router._waiting["a"] = entry
    harness.router.closed = None
    harness.router.settle_all(5.0, Closed(why=WhyClosed.LOST, detail="interrupted"))
    assert [type(outcome) for outcome in pop_outcomes(harness, waiter)] == [Accepted]
    assert harness.events() == [closed]
    assert harness.router.closed == closed


def test_a_wait_abandoned_before_the_answer_makes_it_an_event() -> None:
    harness = Harness()
    waiter = harness.waiter()
    harness.cancel(waiter, "a")
    harness.router.abandon(waiter)
    assert harness.router.pop_event() is None
    harness.answer("a")
    assert (ids(harness.events()), harness.woken) == (["a"], 0)


def test_a_wait_abandoned_after_the_answer_makes_it_an_event() -> None:
    harness = Harness()
    waiter = harness.waiter()
    harness.cancel(waiter, "a")
    harness.answer("a")
    harness.router.abandon(waiter)
    harness.router.abandon(waiter)
    assert (ids(harness.events()), list(waiter.outcomes)) == (["a"], [])


def test_the_oldest_events_are_dropped_but_outcomes_never_are() -> None:
    harness = Harness(max_in_flight=None, max_events=2)
    waiter = harness.waiter()
    for number in range(5):
        harness.cancel(waiter, f"first {number}")
    harness.router.abandon(waiter)
    for number in range(5):
        harness.say(f"push {number}")
        harness.answer(f"first {number}")
    events = harness.events()
    assert events[0] == Dropped(3)
    assert ids(events) == [f"first {number}" for number in range(5)]
    assert [event.text for event in events if isinstance(event, Unrecognised)] == [
        "push 3",
        "push 4",
    ]
    # In the order of arrival: a push, then the answer.
    assert [type(event) for event in events[4:]] == [Unrecognised, Accepted, Unrecognised, Accepted]
    harness.say("push 5")
    assert len(harness.events()) == 1  # nothing is counted twice


def test_events_are_dropped_by_length_but_the_newest_is_kept() -> None:
    harness = Harness(max_events=None, max_event_chars=10)
    for text in ("12345", "12345", "1", "2"):
        harness.say(text)
    assert [getattr(event, "text", event) for event in harness.events()] == [
        Dropped(1),
        "12345",
        "1",
        "2",
    ]
    harness.say("x" * 1000)
    harness.say('{"event":"error","code":30001,"msg":"123456789"}')
    events = harness.events()
    assert events[0] == Dropped(1)
    assert [type(event) for event in events[1:]] == [ExchangeError]
    harness.say("x" * 1000)
    assert [type(event) for event in harness.events()] == [Unrecognised]
    harness.say("1234567890")
    assert [type(event) for event in harness.events()] == [
        Unrecognised
    ]  # events that were read do not count


def test_the_end_event_is_never_dropped() -> None:
    harness = Harness(max_events=1)
    for _ in range(9):
        harness.say("push")
    harness.core.close(0.0)
    harness.drain()
    events = harness.events()
    assert events[0] == Dropped(9)
    assert isinstance(events[1], Closed)
    assert len(events) == 2


def test_an_unread_outcome_uses_capacity() -> None:
    harness = Harness(max_in_flight=3)
    waiting, given_up = harness.waiter(), harness.waiter()
    harness.cancel(waiting, "a")
    harness.cancel(given_up, "b")
    harness.router.abandon(given_up)
    harness.answer("a", "b")
    assert harness.router.room == 1
    harness.cancel(waiting, "c")
    assert harness.router.room == 0
    with pytest.raises(NoRoom, match="unread outcomes"):
        harness.cancel(waiting, "d")
    assert ids(harness.events()) == ["b"]
    assert harness.router.room == 1
    harness.router.pop_outcome(waiting)
    assert harness.router.room == 2
    harness.answer("c")
    harness.router.pop_outcome(waiting)
    assert harness.router.room == 3


def test_a_full_connection_raises_no_room() -> None:
    harness = Harness(max_in_flight=1)
    harness.cancel(harness.waiter(), "a")
    with pytest.raises(NoRoom, match="max_in_flight is 1, and there is no room for one more"):
        harness.cancel(harness.waiter(), "b")
    assert harness.core.in_flight == 1


def test_orders_are_taken_as_capacity_allows_and_sent_one_by_one() -> None:
    harness = Harness(max_in_flight=2)
    seen: list[int] = []

    def some() -> Iterator[CancelOrder]:
        for number in range(5):
            seen.append(len(harness.sent))
            yield order(number)

    waiter = harness.waiter(some())
    harness.fill(waiter)
    assert (seen, harness.sent) == ([0, 1], ["1", "2"])
    harness.fill(waiter)
    assert len(seen) == 2
    harness.answer("1")
    harness.fill(waiter)
    assert len(seen) == 2  # reading the outcome frees its capacity
    harness.router.pop_outcome(waiter)
    harness.fill(waiter)
    assert (seen, waiter.expected) == ([0, 1, 2], 2)


def raises() -> Iterator[CancelOrder]:
    yield order(1)
    raise ZeroDivisionError


def yields_rubbish() -> Iterator[CancelOrder]:
    yield order(1)
    yield "rubbish"  # type: ignore[misc]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("some", "error"), [(raises, ZeroDivisionError), (yields_rubbish, ValidationError)]
)
def test_orders_that_fail_keep_the_orders_taken_before(
    some: Callable[[], Iterator[CancelOrder]], error: type[Exception]
) -> None:
    harness = Harness()
    waiter = harness.waiter(some())
    with pytest.raises(error):
        harness.fill(waiter)
    assert (harness.sent, waiter.expected) == (["1"], 1)
    harness.router.abandon(waiter)
    harness.answer("1")
    assert (ids(harness.events()), harness.router.room) == (["1"], 3)


def test_taking_an_order_raises_no_room_when_only_reading_helps() -> None:
    harness = Harness(max_in_flight=1)
    given_up = harness.waiter()
    harness.cancel(given_up, "a")
    harness.router.abandon(given_up)
    waiter = harness.waiter(iter([order(1), order(2)]))
    harness.fill(waiter)  # the answer may free capacity
    assert waiter.expected == 0
    harness.answer("a")
    with pytest.raises(
        NoRoom,
        match=r"unread outcomes.*The iterable had yielded CancelOrder\(.*'1'.* which was not taken",
    ):
        harness.fill(waiter)
    assert harness.sent == ["a"]


def test_a_listener_is_called_once_for_the_next_event() -> None:
    harness = Harness()
    calls: list[str] = []

    def listener() -> None:
        calls.append("news")

    harness.router.listen(listener)
    harness.router.listen(listener)
    harness.say("push")
    harness.say("push")
    assert calls == ["news"]
    waiter = harness.waiter()
    harness.cancel(waiter, "a")
    harness.answer("a")
    harness.router.listen(listener)
    harness.router.pop_outcome(waiter)  # capacity was freed
    assert calls == ["news"] * 2
    harness.router.listen(listener)
    harness.router.unlisten(listener)
    harness.router.unlisten(listener)
    harness.core.close(0.0)
    harness.drain()
    assert calls == ["news"] * 2


@pytest.mark.parametrize(
    ("end", "why"), [("close", WhyUnresolved.CLOSED), ("lost", WhyUnresolved.LOST)]
)
def test_a_cancel_after_the_end_is_resolved_like_a_queued_one(end: str, why: WhyUnresolved) -> None:
    harness = Harness()
    before, after = harness.waiter(), harness.waiter()
    harness.router.cancel(before, order(1), 0.0)  # not sent
    if end == "close":
        harness.core.close(0.0)
    else:
        harness.core.lost(ONLY_LINK, 0.0)
    harness.drain()
    harness.router.cancel(after, order(1), 0.0, "mine")
    harness.router.cancel(after, order(1), 0.0)
    harness.router.cancel(after, order(1), 0.0, timeout=inf)
    outcomes = [*pop_outcomes(harness, before), *pop_outcomes(harness, after)]
    assert all(isinstance(outcome, Unresolved) for outcome in outcomes)
    assert {
        (outcome.sent, outcome.why) for outcome in outcomes if isinstance(outcome, Unresolved)
    } == {(False, why)}
    made = [outcome.id for outcome in outcomes]
    assert made[1] == "mine"
    assert len(set(made)) == 4
    assert (harness.router.room, harness.core.in_flight) == (0, 0)


def test_while_closing_only_an_id_in_flight_is_refused() -> None:
    harness = Harness()
    waiter = harness.waiter()
    harness.cancel(waiter, "open")
    harness.core.close(0.0)
    harness.drain()
    with pytest.raises(ValidationError, match="in flight"):
        harness.router.cancel(waiter, order(1), 0.0, "open")
    harness.router.cancel(waiter, order(1), 0.0, "other")
    assert isinstance(outcome := harness.router.pop_outcome(waiter), Unresolved)
    assert not outcome.sent
    harness.answer("open")
    assert isinstance(harness.router.pop_outcome(waiter), Accepted)


def test_after_the_end_orders_are_taken_one_at_a_time() -> None:
    harness = Harness()
    harness.core.close(0.0)
    harness.drain()
    taken: list[int] = []

    def some() -> Iterator[CancelOrder]:
        for number in range(3):
            taken.append(number)
            yield order(number)

    waiter = harness.waiter(some())
    for count in (1, 2, 3):
        harness.fill(waiter)
        harness.fill(waiter)
        assert (len(taken), len(waiter.outcomes)) == (count, 1)
        harness.router.pop_outcome(waiter)
    harness.fill(waiter)
    assert waiter.orders is None


def test_ten_thousand_cancels_leave_nothing_behind() -> None:
    harness = Harness(max_in_flight=None)
    waiter = harness.waiter()
    for number in range(10_000):
        harness.cancel(waiter, f"x{number}")
        harness.answer(f"x{number}")
        harness.router.pop_outcome(waiter)
    router = harness.router
    assert (router._waiting, len(router._event_outcomes), len(router._events), router._unread) == (
        {},
        0,
        0,
        0,
    )
    assert (router._listeners, waiter.expected, len(waiter.outcomes)) == (set(), 0, 0)
