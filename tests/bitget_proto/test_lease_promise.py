"""The limit of an account holds in every second, whatever its processes, clocks and store do.

Several processes in virtual time lease from one store, a model. Questions and answers are late or lost,
the store freezes and forgets, clocks drift, and processes sleep. Each process is a `Lease` and a
`Budget` of which it spends as much as it may.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import Ask, Budget, Granted, Lease, StoreDown, StoreUp, Wait

from .lease_store import Store


class World:
    """True time, and what happens in it."""

    def __init__(self, limit: int, random: Random) -> None:
        self.now = 0.0
        self.random = random
        self.store = Store(limit)
        self.frozen_until = -inf
        self.sent: list[tuple[float, int]] = []
        """When a cancel left, and from which process."""
        self.seen = Counter[str]()
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, do: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()

    def busiest(self, seconds: float = 1.0) -> int:
        """Return the largest number sent within any such time."""
        times = sorted(time for time, _ in self.sent)
        first = most = 0
        for last, time in enumerate(times):
            while time - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


class Process:
    """A process that always has more to cancel, until `left` is used up."""

    def __init__(self, world: World, number: int, left: int, limit: int, own: int = 0) -> None:
        self.world, self.number, self.left = world, number, left
        self.budget = Budget(own)
        self.lease = Lease(self.budget, limit)
        self.latency, self.spread, self.loses, self.sleeps = 0.001, 0.004, 0.0, 0.0
        self.rate, self.offset = 1.0, 0.0
        self._wake = inf

    def clock(self) -> float:
        return self.offset + self.world.now * self.rate

    def start(self) -> None:
        self.world.at(self.world.now, self.step)

    def step(self) -> None:
        """Send what may be sent, then do what the lease asks for."""
        world, lease = self.world, self.lease
        while True:
            now = self.clock()
            while self.left and self.budget.allowed_at(now) <= now:
                self.budget.debit(1, now)
                world.sent.append((world.now, self.number))
                self.left -= 1
            lease.wanted(self.left, now)
            output = lease.poll(now)
            world.seen[type(output).__name__] += 1
            match output:
                case Ask():
                    self.ask(output)
                case Granted() | StoreDown() | StoreUp():
                    pass
                case Wait(until=until):
                    opens = self.budget.allowed_at(now) if self.left else inf
                    self.sleep_until(min(inf if until is None else until, opens))
                    return

    def sleep_until(self, until: float) -> None:
        """Wake up at this time of the own clock, or somewhat later."""
        self._wake = until
        if until < inf:
            delay = self.world.random.uniform(0.0, 1e-3)
            if self.world.random.random() < self.sleeps:
                delay += self.world.random.uniform(0.0, 0.1)
                self.world.seen["slept"] += 1
            when = max(self.world.now, (until - self.offset) / self.rate) + delay
            self.world.at(when, lambda: self.woken(until))

    def woken(self, until: float) -> None:
        if until == self._wake:
            self.step()

    def travel(self) -> float:
        return self.latency / 2 + self.world.random.uniform(0.0, self.spread) / 2

    def ask(self, ask: Ask) -> None:
        world, random = self.world, self.world.random
        world.seen["place redeemed"] += ask.place != ""
        gives_up = self.world.now + 0.25
        answered = [False]

        def arrive() -> None:
            if world.now < world.frozen_until:
                world.at(world.frozen_until + random.uniform(0.0, 1e-3), arrive)
                return
            delay, place = world.store.ask(ask.n, ask.place, world.now)
            world.seen["redeemed in vain"] += ask.place not in ("", place)
            if random.random() >= self.loses:
                world.at(world.now + self.travel(), lambda: answer(delay, place))

        def answer(delay: float, place: str) -> None:
            if not answered[0]:
                answered[0] = True
                self.lease.granted(delay, place, self.clock())
                self.step()

        def give_up() -> None:
            if not answered[0]:
                answered[0] = True
                world.seen["lost"] += 1
                self.lease.failed("no answer", self.clock())
                self.step()

        if random.random() >= self.loses:
            world.at(world.now + self.travel(), arrive)
        world.at(gives_up, give_up)


SEEN = Counter[str]()
"""What the property test has visited."""


def storm(limit: int, processes: int, own: int, seed: int) -> World:
    """Run everything that goes wrong for 20 seconds of virtual time."""
    random = Random(seed)
    world = World(limit, random)
    for number in range(processes):
        process = Process(world, number, 10_000, limit, own)
        process.latency = random.choice([0.0, 0.001, 0.004, 0.03])
        process.spread = random.choice([0.0, 0.004, 0.04])
        process.loses = random.choice([0.0, 0.02, 0.2])
        process.sleeps = random.choice([0.0, 0.1])
        process.rate = 1.0 + random.uniform(-1e-3, 1e-3)
        process.offset = random.uniform(0.0, 1e6)
        world.at(random.uniform(0.0, 3.0), process.start)

    def forget() -> None:
        world.store.forget()
        world.seen["forgot"] += 1

    def freeze() -> None:
        world.frozen_until = world.now + random.uniform(0.01, 2.0)
        world.seen["froze"] += 1

    for do in (forget, freeze):
        for _ in range(random.randrange(4)):
            world.at(random.uniform(0.0, 18.0), do)
    world.run(20.0)
    return world


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([1, 2, 10, 60]),
    st.integers(1, 12),
    st.integers(0, 2),
    st.integers(0, 2**32),
)
def test_the_limit_holds_in_every_second(limit: int, processes: int, own: int, seed: int) -> None:
    world = storm(limit, processes, own, seed)
    # The margin of 50 ms is for the network, less a thousandth for the clocks.
    assert world.busiest(1.0489) <= limit + own * processes
    SEEN.update(world.seen)


def test_the_storms_had_everything_in_them() -> None:
    for seed in range(30):
        SEEN.update(storm(10, 8, 0, seed).seen)
    assert (
        min(
            SEEN[what]
            for what in (
                "Granted",
                "StoreDown",
                "StoreUp",
                "place redeemed",
                "redeemed in vain",
                "lost",
                "slept",
                "forgot",
                "froze",
            )
        )
        > 20
    ), SEEN


def test_a_store_that_spaces_too_little_is_noticed() -> None:
    class Hasty(Store):
        def ask(self, n: int, place: str, now: float) -> tuple[float, str]:
            return 0.0, "at once"

    world = World(10, Random(1))
    world.store = Hasty(10)
    Process(world, 0, 100, 10).start()
    world.run(5.0)
    assert world.busiest() > 10


def test_a_store_that_forgets_in_full_use_costs_about_a_second_and_exceeds_nothing() -> None:
    for seed in range(40):
        random = Random(seed)
        world = World(10, random)
        for number in range(8):
            Process(world, number, 10_000, 10).start()
        forgot_at = 5.0 + seed / 40
        world.at(forgot_at, world.store.forget)
        world.run(10.0)
        assert world.busiest() <= 10, seed
        again = min(time for time, _ in world.sent if time > forgot_at + 0.1)
        assert again < forgot_at + 2.2


def test_eight_busy_processes_use_most_of_the_allowance_and_share_it_fairly() -> None:
    for limit in (10, 60):
        world = World(limit, Random(limit))
        for number in range(8):
            process = Process(world, number, 10_000, limit)
            process.latency = 0.005 if number == 0 else 0.001
            process.spread = 0.002
            process.start()
        world.run(62.0)
        late = [number for time, number in world.sent if time >= 2.0]
        assert len(late) >= 0.85 * limit * 60.0
        shares = Counter(late)
        assert max(shares.values()) <= 2 * min(shares.values()), shares
        assert len(shares) == 8


def test_one_process_alone_gets_almost_everything() -> None:
    world = World(10, Random(3))
    Process(world, 0, 10_000, 10).start()
    world.run(62.0)
    assert sum(time >= 2.0 for time, _ in world.sent) >= 0.9 * 600


def test_a_slow_process_wastes_little_of_the_allowance_of_the_others() -> None:
    world = World(10, Random(4))
    for number in range(4):
        process = Process(world, number, 10_000, 10)
        if number == 0:
            process.latency = 0.05
        process.start()
    world.run(62.0)
    assert sum(time >= 2.0 for time, _ in world.sent) >= 0.75 * 600
