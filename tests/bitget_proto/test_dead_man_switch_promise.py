"""What `DeadManSwitch` says is true of the exchange, whatever the network and the exchange do.

In virtual time, requests and answers are slow or lost, the exchange fails, and the process sleeps.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import (
    Armed,
    CancelOrder,
    DeadManSwitch,
    Dialect,
    Lapsed,
    NotRenewed,
    SetCountdown,
    Stopped,
)
from bitget_proto.testing import ExchangeConfig, RestFault, ScriptedExchange

SIGNATURE_VALID = 30.0


class World:
    """A process with a `DeadManSwitch`, the exchange, and a network between them."""

    def __init__(self, random: Random, countdown: int, *, trouble: float) -> None:
        self.random, self.trouble = random, trouble
        self.now = 0.0
        self.exchange = ScriptedExchange(config=ExchangeConfig(dialect=Dialect.UNIFIED))
        self.switch = DeadManSwitch(countdown)
        self.seen = Counter[str]()
        self.asked: list[float] = []
        self.stopped: Stopped | None = None
        self.said_armed_until: float | None = None
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._wake = 0.0

    def at(self, time: float, do: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            self.exchange.handle_timeout(self.now)
            do()
            self.check()
        self.now = until
        self.exchange.handle_timeout(until)
        self.check()

    def check(self) -> None:
        """The rules."""
        until, ends = self.switch.armed_until, self.exchange.countdown_ends
        if until is not None and until > self.now:
            assert ends is not None, "it was said to be armed, and is off"
            assert ends >= until, "it may end before the time that was said"
            self.seen["armed"] += 1
        if self.stopped is not None and self.stopped.disarmed:
            assert ends is None, "it was said to be off, and is on"

    def step(self) -> None:
        """Drain."""
        switch, random = self.switch, self.random
        while True:
            output = switch.poll(self.now)
            self.seen[type(output).__name__] += 1
            match output:
                case SetCountdown():
                    assert self.stopped is None
                    if self.asked:
                        assert self.now - self.asked[-1] > 1.0, "more than one a second"
                    self.asked.append(self.now)
                    self.send(output)
                case Stopped():
                    assert self.stopped is None, "two ends"
                    self.stopped = output
                case Armed() | Lapsed() | NotRenewed():
                    pass
                case _:
                    if output.until is not None:
                        late = 20.0 * random.random() if random.random() < self.trouble / 8 else 0.0
                        self.wake(max(self.now, output.until) + late)
                    return

    def wake(self, until: float) -> None:
        self._wake = until

        def woken() -> None:
            if self._wake == until:
                self.step()

        self.at(until, woken)

    def delay(self) -> float:
        random = self.random
        return random.uniform(0.0, 40.0 if random.random() < self.trouble / 4 else 0.02)

    def send(self, request: SetCountdown) -> None:
        random, switch = self.random, self.switch
        asked, number = self.now, request.number
        closed = [False]

        def give_up() -> None:
            if not closed[0] and random.random() < 0.5:
                closed[0] = True
                self.seen["gave up"] += 1
                switch.failed(number, "no answer", self.now)
                self.step()

        if random.random() < self.trouble / 4:
            switch.failed(number, "not connected", asked, unsent=True)
            self.seen["unsent"] += 1
            return
        self.at(asked + request.timeout, give_up)

        def arrive() -> None:
            if self.now > asked + SIGNATURE_VALID:
                return
            if random.random() < self.trouble / 2:
                self.exchange.inject_rest(random.choice(list(RestFault)))
            body = request.request.body.encode()
            answer = self.exchange.rest("POST", request.request.target, {}, body, self.now)
            if answer is not None:
                self.at(self.now + self.delay(), lambda: reply(*answer))

        def reply(status: int, body: bytes) -> None:
            if not closed[0]:
                closed[0] = True
                switch.replied(number, status, body, self.now)
                self.step()

        self.at(asked + self.delay(), arrive)

    def stop(self) -> None:
        self.switch.stop(self.now)
        self.step()


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    countdown=st.sampled_from([5, 7, 30, 60]),
    trouble=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
def test_what_is_said_is_true(seed: int, countdown: int, trouble: float) -> None:
    world = World(Random(seed), countdown, trouble=trouble)
    world.exchange.place(CancelOrder(order_id="1"))
    world.at(0.0, world.step)
    world.run(120.0)
    if trouble == 0.0:
        assert world.exchange.live, "it has fired although every renewal was answered"
        assert world.seen["Lapsed"] == world.seen["NotRenewed"] == 0
    world.at(120.0, world.stop)
    world.run(130.5 + (20.0 if trouble else 0.0))
    assert world.stopped is not None, "the stop takes too long"
    if trouble == 0.0:
        assert world.stopped == Stopped(disarmed=True, detail="")
    world.run(300.0)
    assert world.exchange.countdown_ends is None


def test_the_worlds_visit_what_they_should() -> None:
    seen = Counter[str]()
    for seed in range(40):
        world = World(Random(seed), 5 + seed, trouble=0.3)
        world.at(0.0, world.step)
        world.run(200.0)
        world.at(200.0, world.stop)
        world.run(300.0)
        assert world.stopped is not None
        seen += world.seen
        seen["off" if world.stopped.disarmed else "maybe on"] += 1
    wanted = ("armed", "Armed", "Lapsed", "NotRenewed", "gave up", "unsent", "off", "maybe on")
    assert min(seen[name] for name in wanted) >= 5, seen


def test_orders_are_cancelled_when_the_process_dies() -> None:
    world = World(Random(1), 30, trouble=0.0)
    order = CancelOrder(order_id="1")
    world.exchange.place(order)
    world.at(0.0, world.step)
    world.run(100.0)
    assert world.exchange.live == (order,)
    world._events.clear()
    world.run(124.0)
    assert world.exchange.live == (order,)
    world.run(131.0)
    assert not world.exchange.live
