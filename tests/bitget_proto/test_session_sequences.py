"""Random sequences of inputs to a `Session`, checked against a ledger.

Rules for changes
- A run is a string of bytes, three for each step: what to do, with what, and when. The driver
  drains at any time. Times fall exactly on what is due as often as just beside it.
- The ledger records what was put in and what came out. It knows what the library promises, not how
  it works. It reads two private tables, to know whether a frame that is reported as unsent was
  still unanswered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from math import inf, nextafter
from random import Random

import attrs
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bitget_proto import (
    Accepted,
    CancelOrder,
    CodeClass,
    Config,
    Dial,
    Down,
    Ended,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    Outcome,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    SessionOutput,
    SessionState,
    SignedLogin,
    Unresolved,
    Up,
    Wait,
    WhyEnded,
    WhyUnresolved,
)

LOGIN = SignedLogin("key", "pass", "1700000000", "c2lnbg==")
CONFIG = SessionConfig(
    link=Config(
        login_timeout=8.0, ping_interval=9.0, pong_timeout=4.0, answer_timeout=6.0, queue_timeout=8.0, drain_timeout=1.5,
        messages_per_second=4, max_in_flight=6, max_own_frames=2, late_ids=2,
    ),
    no_link_timeout=3.0, dial_timeout=5.0, dials_per_5_minutes=40, backoff_min=0.25, backoff_max=2.0, steady_after=5.0,
    lifetime=60.0, rotate_before=20.0,
)  # fmt: skip
ORDERS = [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(3)] + [
    CancelOrder("BTCUSDT", client_oid="c")
]
CODES: list[object] = [0, 0, 43001, 43001, 45056, 40010, 40769, None, "0", 45129]
SAID = [
    '{"event":"error","code":30033}', '{"event":"error","code":30033}', '{"event":"error","code":30004}',
    '{"event":"error","code":30007}', '{"event":"error","code":30006}', '{"event":"error","code":30014}',
    '{"event":"error","code":30011}', '{"event":"error","code":30099}', "pong", "x", '{"event":"login","code":0}',
]  # fmt: skip
TIMEOUTS = [None, None, None, 1.0, 0.25, 30.0, float("inf"), 1e-300]
NOISY = Random(7).randbytes(1000)
"""Laid over each tape: what is drawn holds many equal bytes, and most of what is to be done would never be done."""


@attrs.define(eq=False)
class Entry:
    """A cancel that was taken."""

    order: CancelOrder
    policy: Policy
    taken_at: float
    until: float
    """The end of all its time."""

    sent: list[float] = attrs.field(factory=list[float])
    """When each attempt was handed out that was not taken back."""

    link: int | None = None
    """The link that holds it."""

    handed_out_at: float = 0.0
    """When it was given to that."""


class Play:
    """One run: a session, and the ledger beside it."""

    def __init__(self, seen: Counter[object], tape: bytes) -> None:
        self.seen = seen
        self.now = 0.0
        policy = Policy.RESEND if tape[0] % 2 else Policy.REPORT
        self.config = attrs.evolve(CONFIG, policy=policy, client_oids_unique=tape[0] % 4 > 1)
        self.session = Session(self.config, jitter=lambda: 0.5)
        self.entries: dict[str, Entry] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.held: dict[int, set[str]] = {}
        """Which cancels were handed out on which link."""
        self.opened: set[int] = set()
        self.over: set[int] = set()
        self.acknowledged: set[str] = set()
        self.dials: list[float] = []
        self.ended = False
        self.tidy = tape[2] % 2 == 0
        """Whether each call is followed by a drain, as the contract says: then every time is known."""
        self.serving: int | None = None
        self.down_since: float | None = None
        """Since when no link serves: since the first dial, before one did."""
        self.refusal = {1: 30014, 3: 30099}.get(tape[1] % 8, 0)
        self.wait = Wait(until=None, timer=None)
        if tape[0] % 3 and self.refusal != 30014:
            self.drain(())
            self.open(1)
            self.drain(())
            self.login(1)
            self.drain(())
            assert self.session.state is SessionState.UP

    # --- out ---

    def drain(self, busy: tuple[int, ...], times: int = 1000) -> None:
        for _ in range(times):
            output = self.session.poll(self.now, busy)
            self.seen[type(output)] += 1
            self.seen[self.session.state] += 1
            if isinstance(output, Wait):
                self.wait = output
                assert not self.ended or output == Wait(until=None, timer=None)
                assert self.session.in_flight == len(self.entries) - len(self.outcomes)
                return
            assert not self.ended, "something came after the end"
            self.judge(output, busy)

    def judge(self, output: SessionOutput, busy: tuple[int, ...]) -> None:
        match output:
            case Dial(link=link):
                self.dials.append(self.now)
                if self.down_since is None and self.serving is None:
                    self.down_since = self.now
                assert link == len(self.dials)
            case LinkTransmit(link=link, ids=ids):
                assert link in self.opened
                assert link not in self.over | {*busy}
                for id in ids:
                    entry = self.entries[id]
                    assert id not in self.outcomes
                    assert not self.tidy or link == self.serving
                    assert self.now < min(entry.until, entry.taken_at + 8.0)
                    assert not entry.sent or entry.policy is Policy.RESEND
                    assert all(self.now >= at + 1.0 for at in entry.sent)
                    entry.sent.append(self.now)
                    entry.link, entry.handed_out_at = link, self.now
                    self.held.setdefault(link, set()).add(id)
            case Accepted() | Rejected() | Unresolved():
                self.judge_outcome(output)
            case LinkHangup(link=link):
                assert link not in self.over
            case LinkClosed(link=link):
                assert link not in self.over
                self.over.add(link)
                for entry in self.entries.values():
                    if entry.link == link:
                        entry.link = None
            case Up(link=link, down_for=down_for):
                since = (
                    self.now
                    if self.serving is not None or self.down_since is None
                    else self.down_since
                )
                assert not self.tidy or down_for == self.now - since
                self.serving, self.down_since = link, None
            case Down(link=link):
                assert link == self.serving
                self.serving, self.down_since = None, self.now
            case Ended():
                assert set(self.outcomes) == set(self.entries)
                self.ended = True
                self.seen[output.why] += 1
            case _:
                pass

    def judge_outcome(self, outcome: Outcome) -> None:
        entry = self.entries[outcome.id]
        assert outcome.id not in self.outcomes
        self.outcomes[outcome.id] = outcome
        assert outcome.order is entry.order
        assert outcome.taken_at == entry.taken_at
        assert outcome.attempts == max(1, len(entry.sent))
        assert outcome.sent_at == (entry.sent[-1] if entry.sent else None)
        match outcome:
            case Accepted():
                assert outcome.id in self.acknowledged
                assert entry.sent
            case Rejected():
                assert entry.sent
                assert len(entry.sent) == 1 or outcome.code_class is CodeClass.FINISHED
            case Unresolved():
                assert outcome.sent == bool(entry.sent)
                if outcome.why is WhyUnresolved.TIMEOUT:
                    held_until = (
                        entry.taken_at + 8.0 if entry.link is None else entry.handed_out_at + 6.0
                    )
                    assert self.now >= min(entry.until, held_until)
                elif outcome.why is WhyUnresolved.NO_LINK:
                    if self.tidy:
                        assert self.serving is None
                        assert self.now >= self.without_link_until(entry)
                elif outcome.why is WhyUnresolved.WITHDRAWN:
                    assert not entry.sent
                self.seen[outcome.why, outcome.sent] += 1
        self.seen[type(outcome), len(entry.sent) > 1] += 1

    def without_link_until(self, entry: Entry) -> float:
        return 3.0 + max(
            entry.taken_at, entry.taken_at if self.down_since is None else self.down_since
        )

    def fire(self) -> None:
        """After this and a drain no cancel is open whose time is up."""
        self.session.handle_timeout(self.now)
        self.drain(())
        for id, entry in self.entries.items():
            if id in self.outcomes or not self.tidy:
                continue
            assert self.now < entry.until
            if entry.link is not None:
                assert self.now < entry.handed_out_at + 6.0
            else:
                assert self.now < entry.taken_at + 8.0
                assert self.serving is not None or self.now < self.without_link_until(entry)

    # --- in ---

    def report(self, link: int, call: Callable[[], None]) -> None:
        """Make an input call. It is refused if its link was never dialled."""
        if 0 < link <= len(self.dials):
            call()
        else:
            with pytest.raises(LocalProtocolError, match="was never dialled"):
                call()

    def receive(self, link: int, text: str) -> None:
        self.report(link, lambda: self.session.receive(link, text, self.now))

    def open(self, link: int) -> None:
        try:
            self.report(link, lambda: self.session.opened(link, self.now, login=LOGIN))
        except LocalProtocolError:
            assert link in self.opened
        self.opened.add(link)

    def login(self, link: int) -> None:
        code = 0 if self.is_welcome() else self.refusal
        self.receive(link, json.dumps({"event": "login", "code": code}))

    def is_welcome(self) -> bool:
        """Whether a login is accepted: in some runs only the first one is."""
        return not self.refusal or (self.refusal != 30014 and len(self.dials) == 1)

    def reply(self, link: int, what: int) -> None:
        ids = [*self.entries]
        id = ids[-1 - what % min(len(ids), 6)] if ids else "1"
        code = CODES[what % len(CODES)]
        if code in (0, "0") and id in self.held.get(link, ()):
            self.acknowledged.add(id)
        text = json.dumps({"event": "trade", "arg": [{"id": id}], "code": code, "msg": ""})
        self.receive(link, text)

    def lose(self, link: int, what: int) -> None:
        unsent = sorted(self.held.get(link, ()))[: what % 3]
        known = self.session._links.all.get(link)
        for id in unsent:
            if known is not None and id in known.connection._in_flight.sent:
                self.entries[id].sent.pop()
        self.report(link, lambda: self.session.lost(link, self.now, "lost", unsent))

    def cancel(self, what: int) -> None:
        orders = [ORDERS[(what + number) % len(ORDERS)] for number in range(1 + what % 5 // 4 * 2)]
        timeout = TIMEOUTS[what % len(TIMEOUTS)]
        policy = [None, Policy.REPORT, Policy.RESEND][what % 3]
        room = self.session.capacity
        try:
            if len(orders) > 1:
                ids = self.session.cancel_many(orders, self.now, timeout, policy)
            else:
                ids = [
                    self.session.cancel(
                        orders[0], self.now, None, timeout, policy, urgent=what % 7 == 0
                    )
                ]
        except LocalProtocolError:
            assert room < len(orders)
            assert self.session.capacity == room
            return
        assert self.session.capacity == room - len(orders)
        for id, order in zip(ids, orders, strict=True):
            assert id not in self.entries
            taken = self.config.policy if policy is None else policy
            if order.order_id is None and not self.config.client_oids_unique:
                taken = Policy.REPORT
            self.entries[id] = Entry(
                order, taken, self.now, self.now + (inf if timeout is None else timeout)
            )

    def withdraw(self, what: int) -> None:
        id = [*self.entries, "1"][-1 - what % min(len(self.entries) + 1, 6)]
        entry = self.entries.get(id)
        withdrawn = self.session.withdraw(id, self.now)
        self.seen["withdrawn", withdrawn] += 1
        if entry is not None and self.is_drained and not self.ended:
            assert withdrawn == (id not in self.outcomes and entry.link is None and not entry.sent)

    @property
    def is_drained(self) -> bool:
        """Whether the ledger knows all."""
        return self.session.in_flight == len(self.entries) - len(self.outcomes)

    def close(self, what: int) -> None:
        if what % 2:
            self.session.close(self.now, queued="send", within=[None, 2.0][what // 2 % 2])
        else:
            self.session.close(self.now)

    def pass_time(self, what: int) -> None:
        until = self.wait.until
        if until is None or what % 4 == 0:
            self.now += [0.0, 0.1, 1.0, 2.5, 10.0][what % 5]
        else:
            self.now = max(
                self.now, [nextafter(until, 0.0), until, nextafter(until, 1e9)][what % 3]
            )

    def step(self, op: int, what: int, when: int) -> None:
        if when % 2:
            self.pass_time(when // 2)
        dialled = len(self.dials)
        link = max(0, dialled + 1 - when // 16 % 4)
        match op % 16:
            case 0 | 1:
                self.open(dialled)
            case 2 | 3 | 4:
                self.login(dialled)
            case 5 | 6:
                self.reply(link, what)
            case 7:
                self.receive(link, SAID[what % len(SAID)])
            case 8:
                self.lose(link, what)
            case 9:
                self.session.handle_timeout(self.now)
            case 10:
                self.fire()
            case 11 | 12:
                self.cancel(what)
            case 13:
                self.drain((), times=what % 4)
                if not self.tidy:
                    return
            case 14 if what % 8 in (0, 1):
                self.close(what // 8)
            case 14:
                self.withdraw(what)
            case _:
                self.reply(dialled, what)
        if what % 3 or self.tidy:
            self.drain((dialled,) if what % 7 == 0 else ())

    def end(self) -> None:
        self.drain(())
        for _ in range(3):
            self.session.close(self.now)
            self.drain(())
        assert self.ended
        assert all(
            later >= at + 300.0 for at, later in zip(self.dials, self.dials[40:], strict=False)
        )


@pytest.mark.slow
def test_any_inputs_in_any_order_keep_the_promise() -> None:
    seen: Counter[object] = Counter()

    # Not derandomized: that draws anew when the text of this test changes.
    @seed(1)
    @settings(
        max_examples=3000,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.binary(min_size=90, max_size=900))
    def any_tape(tape: bytes) -> None:
        noisy = bytes(byte ^ noise for byte, noise in zip(tape, NOISY, strict=False))
        play = Play(seen, tape)
        for at in range(0, len(noisy) - 2, 3):
            play.step(*noisy[at : at + 3])
        play.end()

    any_tape()
    expected: set[object] = {
        *SessionState,
        *WhyEnded,
        Accepted,
        Rejected,
        Unresolved,
        Dial,
        LinkTransmit,
        LinkHangup,
    }
    expected -= {WhyEnded.INTERRUPTED}
    expected |= {
        (kind, again) for kind in (Accepted, Rejected, Unresolved) for again in (False, True)
    }
    expected |= {("withdrawn", withdrawn) for withdrawn in (False, True)}
    expected |= {
        (why, sent)
        for why in (WhyUnresolved.TIMEOUT, WhyUnresolved.NO_LINK)
        for sent in (False, True)
    }
    assert expected <= set(seen), f"never seen: {expected - set(seen)}"
