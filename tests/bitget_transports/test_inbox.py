"""The inbox of a channel: who gets which outcome, what is kept, and what makes room. No socket, and time that is told."""

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
from bitget_transports._driver.outcome_router import Inbox, Waiter
from bitget_transports._driver.single_link import ONLY, SingleLink

LOGIN = sign_login(Credentials("key", "secret", "passphrase"), 1_763_958_366)


def order(number: int) -> CancelOrder:
    return CancelOrder("BTCUSDT", order_id=str(number))


class Play:
    """An inbox that is logged in, and its connection, driven by hand."""

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
        self.inbox = Inbox(
            self.core, Limits(max_events=max_events, max_event_chars=max_event_chars), ""
        )
        self.sent: list[str] = []
        self.woken = 0
        self.drain()
        self.core.opened(ONLY, 0.0, login=LOGIN)
        self.drain()
        self.say('{"event":"login","code":0}')
        self.sent.clear()

    def drain(self) -> None:
        while not isinstance(output := self.core.poll(0.0), Wait):
            if isinstance(output, Transmit):
                self.sent += [] if output.id is None else [output.id]
            elif not isinstance(output, (Dial, Hangup)):
                self.inbox.dispatch(output)

    def say(self, text: str) -> None:
        self.core.receive(ONLY, text, 0.0)
        self.drain()

    def answer(self, *ids: str) -> None:
        for id in ids:
            self.say(f'{{"event":"trade","arg":[{{"id":"{id}"}}],"code":0,"msg":"Success"}}')

    def waiter(self, orders: Iterator[CancelOrder] | None = None) -> Waiter:
        def wake() -> None:
            self.woken += 1

        return Waiter(wake, orders)

    def cancel(self, waiter: Waiter, id: str) -> None:
        self.inbox.cancel(waiter, order(1), 0.0, id)
        self.drain()

    def fill(self, waiter: Waiter) -> None:
        while self.inbox.take_next_order(waiter, 0.0, None):
            self.drain()

    def events(self) -> list[object]:
        found: list[object] = []
        while (event := self.inbox.pop_event()) is not None:
            found.append(event)
        return found


def ids(events: list[object]) -> list[str]:
    return [event.id for event in events if isinstance(event, Accepted | Unresolved)]


def fetch(play: Play, waiter: Waiter) -> list[Outcome]:
    return [play.inbox.pop_outcome(waiter) for _ in range(len(waiter.outcomes))]


def test_each_outcome_goes_to_whoever_waits_for_it() -> None:
    play = Play()
    one, other = play.waiter(), play.waiter()
    play.cancel(one, "a")
    play.cancel(other, "b")
    play.answer("b", "a")
    assert (
        [outcome.id for outcome in fetch(play, one)],
        [outcome.id for outcome in fetch(play, other)],
    ) == (
        ["a"],
        ["b"],
    )
    assert (play.woken, play.events(), play.inbox.room) == (2, [], 3)


def test_what_a_torn_core_owes_goes_to_who_waits_as_perhaps_sent_and_the_end_comes_once() -> None:
    play = Play()
    one, many = play.waiter(), play.waiter(iter([order(2), order(3)]))
    play.cancel(one, "a")
    play.fill(many)
    play.inbox.abandon(one)
    play.answer("1")
    closed = Closed(why=WhyClosed.LOST, detail="torn")
    for _ in ("torn", "and interrupted meanwhile"):
        play.inbox.break_off(5.0, closed)
    answered, owed = fetch(play, many)
    assert isinstance(answered, Accepted)
    abandoned, end = play.events()
    assert end == play.inbox.closed == closed
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
    assert many.due == 0


def test_what_had_arrived_before_the_inbox_was_torn_is_not_told_again() -> None:
    play = Play()
    waiter = play.waiter()
    play.cancel(waiter, "a")
    entry = play.inbox._waiting["a"]
    play.answer("a")
    closed = Closed(why=WhyClosed.ASKED, detail="")
    play.inbox.dispatch(closed)
    # As if it had been interrupted behind each arrival.
    play.inbox._waiting["a"] = entry
    play.inbox.closed = None
    play.inbox.break_off(5.0, Closed(why=WhyClosed.LOST, detail="torn"))
    assert [type(outcome) for outcome in fetch(play, waiter)] == [Accepted]
    assert play.events() == [closed]
    assert play.inbox.closed == closed


def test_a_wait_that_is_given_up_before_the_answer_leaves_it_to_the_events() -> None:
    play = Play()
    waiter = play.waiter()
    play.cancel(waiter, "a")
    play.inbox.abandon(waiter)
    assert play.inbox.pop_event() is None
    play.answer("a")
    assert (ids(play.events()), play.woken) == (["a"], 0)


def test_a_wait_that_is_given_up_behind_the_answer_leaves_it_to_the_events() -> None:
    play = Play()
    waiter = play.waiter()
    play.cancel(waiter, "a")
    play.answer("a")
    play.inbox.abandon(waiter)
    play.inbox.abandon(waiter)
    assert (ids(play.events()), list(waiter.outcomes)) == (["a"], [])


def test_of_events_the_oldest_are_dropped_and_counted_and_outcomes_never_are() -> None:
    play = Play(max_in_flight=None, max_events=2)
    waiter = play.waiter()
    for number in range(5):
        play.cancel(waiter, f"first {number}")
    play.inbox.abandon(waiter)
    for number in range(5):
        play.say(f"push {number}")
        play.answer(f"first {number}")
    events = play.events()
    assert events[0] == Dropped(3)
    assert ids(events) == [f"first {number}" for number in range(5)]
    assert [event.text for event in events if isinstance(event, Unrecognised)] == [
        "push 3",
        "push 4",
    ]
    # In the order in which they came: a push, then the answer behind it.
    assert [type(event) for event in events[4:]] == [Unrecognised, Accepted, Unrecognised, Accepted]
    play.say("push 5")
    assert len(play.events()) == 1  # nothing is counted twice


def test_long_events_are_dropped_by_what_they_hold_and_the_newest_stays_however_long() -> None:
    play = Play(max_events=None, max_event_chars=10)
    for text in ("12345", "12345", "1", "2"):
        play.say(text)
    assert [getattr(event, "text", event) for event in play.events()] == [
        Dropped(1),
        "12345",
        "1",
        "2",
    ]
    play.say("x" * 1000)
    play.say('{"event":"error","code":30001,"msg":"123456789"}')
    events = play.events()
    assert events[0] == Dropped(1)
    assert [type(event) for event in events[1:]] == [ExchangeError]
    play.say("x" * 1000)
    assert [type(event) for event in play.events()] == [Unrecognised]
    play.say("1234567890")
    assert [type(event) for event in play.events()] == [
        Unrecognised
    ]  # what was read counts no longer


def test_the_end_is_never_among_what_was_dropped() -> None:
    play = Play(max_events=1)
    for _ in range(9):
        play.say("push")
    play.core.close(0.0)
    play.drain()
    events = play.events()
    assert events[0] == Dropped(9)
    assert isinstance(events[1], Closed)
    assert len(events) == 2


def test_what_nobody_has_read_holds_a_place_wherever_it_lies() -> None:
    play = Play(max_in_flight=3)
    waiting, given_up = play.waiter(), play.waiter()
    play.cancel(waiting, "a")
    play.cancel(given_up, "b")
    play.inbox.abandon(given_up)
    play.answer("a", "b")
    assert play.inbox.room == 1
    play.cancel(waiting, "c")
    assert play.inbox.room == 0
    with pytest.raises(NoRoom, match="unread outcomes"):
        play.cancel(waiting, "d")
    assert ids(play.events()) == ["b"]
    assert play.inbox.room == 1
    play.inbox.pop_outcome(waiting)
    assert play.inbox.room == 2
    play.answer("c")
    play.inbox.pop_outcome(waiting)
    assert play.inbox.room == 3


def test_a_full_connection_says_so_itself() -> None:
    play = Play(max_in_flight=1)
    play.cancel(play.waiter(), "a")
    with pytest.raises(NoRoom, match="max_in_flight is 1, and there is no room for one more"):
        play.cancel(play.waiter(), "b")
    assert play.core.in_flight == 1


def test_orders_are_taken_as_there_is_room_and_each_leaves_before_the_next_is_made() -> None:
    play = Play(max_in_flight=2)
    seen: list[int] = []

    def some() -> Iterator[CancelOrder]:
        for number in range(5):
            seen.append(len(play.sent))
            yield order(number)

    waiter = play.waiter(some())
    play.fill(waiter)
    assert (seen, play.sent) == ([0, 1], ["1", "2"])
    play.fill(waiter)
    assert len(seen) == 2
    play.answer("1")
    play.fill(waiter)
    assert len(seen) == 2  # the place is free when the outcome is read
    play.inbox.pop_outcome(waiter)
    play.fill(waiter)
    assert (seen, waiter.due) == ([0, 1, 2], 2)


def raises() -> Iterator[CancelOrder]:
    yield order(1)
    raise ZeroDivisionError


def yields_rubbish() -> Iterator[CancelOrder]:
    yield order(1)
    yield "rubbish"  # type: ignore[misc]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("some", "error"), [(raises, ZeroDivisionError), (yields_rubbish, ValidationError)]
)
def test_orders_that_fail_in_the_middle_leave_what_was_taken_before(
    some: Callable[[], Iterator[CancelOrder]], error: type[Exception]
) -> None:
    play = Play()
    waiter = play.waiter(some())
    with pytest.raises(error):
        play.fill(waiter)
    assert (play.sent, waiter.due) == (["1"], 1)
    play.inbox.abandon(waiter)
    play.answer("1")
    assert (ids(play.events()), play.inbox.room) == (["1"], 3)


def test_when_only_reading_would_make_room_filling_says_so_and_takes_nothing() -> None:
    play = Play(max_in_flight=1)
    given_up = play.waiter()
    play.cancel(given_up, "a")
    play.inbox.abandon(given_up)
    waiter = play.waiter(iter([order(1), order(2)]))
    play.fill(waiter)  # the answer may make room
    assert waiter.due == 0
    play.answer("a")
    with pytest.raises(
        NoRoom,
        match=r"unread outcomes.* The orders gave CancelOrder\(.*'1'.*, and it was not taken",
    ):
        play.fill(waiter)
    assert play.sent == ["a"]


def test_news_of_any_kind_wakes_those_that_listen_once() -> None:
    play = Play()
    told: list[str] = []

    def listener() -> None:
        told.append("news")

    play.inbox.listen(listener)
    play.inbox.listen(listener)
    play.say("push")
    play.say("push")
    assert told == ["news"]
    waiter = play.waiter()
    play.cancel(waiter, "a")
    play.answer("a")
    play.inbox.listen(listener)
    play.inbox.pop_outcome(waiter)  # room was made
    assert told == ["news"] * 2
    play.inbox.listen(listener)
    play.inbox.unlisten(listener)
    play.inbox.unlisten(listener)
    play.core.close(0.0)
    play.drain()
    assert told == ["news"] * 2


@pytest.mark.parametrize(
    ("end", "why"), [("close", WhyUnresolved.CLOSED), ("lost", WhyUnresolved.LOST)]
)
def test_a_cancel_behind_the_end_is_answered_as_one_that_was_queued_before_it(
    end: str, why: WhyUnresolved
) -> None:
    play = Play()
    before, after = play.waiter(), play.waiter()
    play.inbox.cancel(before, order(1), 0.0)  # not handed out
    if end == "close":
        play.core.close(0.0)
    else:
        play.core.lost(ONLY, 0.0)
    play.drain()
    play.inbox.cancel(after, order(1), 0.0, "mine")
    play.inbox.cancel(after, order(1), 0.0)
    play.inbox.cancel(after, order(1), 0.0, timeout=inf)
    outcomes = [*fetch(play, before), *fetch(play, after)]
    assert all(isinstance(outcome, Unresolved) for outcome in outcomes)
    assert {
        (outcome.sent, outcome.why) for outcome in outcomes if isinstance(outcome, Unresolved)
    } == {(False, why)}
    made = [outcome.id for outcome in outcomes]
    assert made[1] == "mine"
    assert len(set(made)) == 4
    assert (play.inbox.room, play.core.in_flight) == (0, 0)


def test_while_it_closes_an_id_that_is_in_flight_is_refused_and_another_is_answered() -> None:
    play = Play()
    waiter = play.waiter()
    play.cancel(waiter, "open")
    play.core.close(0.0)
    play.drain()
    with pytest.raises(ValidationError, match="in flight"):
        play.inbox.cancel(waiter, order(1), 0.0, "open")
    play.inbox.cancel(waiter, order(1), 0.0, "other")
    assert isinstance(outcome := play.inbox.pop_outcome(waiter), Unresolved)
    assert not outcome.sent
    play.answer("open")
    assert isinstance(play.inbox.pop_outcome(waiter), Accepted)


def test_behind_the_end_orders_are_taken_one_at_a_time() -> None:
    play = Play()
    play.core.close(0.0)
    play.drain()
    taken: list[int] = []

    def some() -> Iterator[CancelOrder]:
        for number in range(3):
            taken.append(number)
            yield order(number)

    waiter = play.waiter(some())
    for count in (1, 2, 3):
        play.fill(waiter)
        play.fill(waiter)
        assert (len(taken), len(waiter.outcomes)) == (count, 1)
        play.inbox.pop_outcome(waiter)
    play.fill(waiter)
    assert waiter.orders is None


def test_ten_thousand_cancels_leave_nothing_behind() -> None:
    play = Play(max_in_flight=None)
    waiter = play.waiter()
    for number in range(10_000):
        play.cancel(waiter, f"x{number}")
        play.answer(f"x{number}")
        play.inbox.pop_outcome(waiter)
    inbox = play.inbox
    assert (inbox._waiting, len(inbox._outcomes), len(inbox._events), inbox._unread) == (
        {},
        0,
        0,
        0,
    )
    assert (inbox._listeners, waiter.due, len(waiter.outcomes)) == (set(), 0, 0)
