"""Small worlds of a `Session`, and the rules across links that are checked at each step.

- As in `small_connections`, the ledger holds what an observer can know, written for clarity.
- The behaviour of one link is checked there. Here the checks are which link has which cancel, what an
  outcome says about all attempts, and which links exist.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable
from functools import partial
from math import inf
from typing import Any, ClassVar, Final

import attrs

from bitget_proto import (
    Accepted,
    CancelOrder,
    Dial,
    Down,
    Ended,
    ExchangeError,
    GoingAway,
    LateReply,
    LinkClosed,
    LinkHangup,
    LinkTransmit,
    LocalProtocolError,
    LoginRejected,
    Policy,
    Rejected,
    Session,
    SessionConfig,
    SessionState,
    Unrecognised,
    Unresolved,
    Up,
    Wait,
    WhyClosed,
    WhyEnded,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto._machine.arguments import Queued
from bitget_proto._machine.rate_limit import PAUSE
from bitget_proto._values.codes import REFUSED_FOR_GOOD, STAMP_REFUSED

from .small_connections import (
    BUSY,
    CODEC,
    FATAL_ERRORS,
    FIRES,
    GOING_AWAY,
    LOGIN,
    NO_LOGIN,
    ORDERS,
    REFUSED,
    UNSURE,
    kind_of,
)
from .small_worlds import (
    CODE,
    Input,
    ahead,
    doublings,
    key_of,
    lately,
    on_the_clock,
    places,
    require,
)

_ON_ITS_WAY: Final = ("dialled", "due", "sent")
"""Phases of a dialled link that does not serve yet: before `opened`, login due, login sent."""


@attrs.define(eq=False)
class OpenCancel:
    """A cancel that was taken and has no outcome yet."""

    of_the_ledger: ClassVar = True

    id: str
    order: CancelOrder
    urgent: bool
    resend: bool
    taken_at: float
    queue_until: float
    until: float
    turn: int
    """Its position among waiting cancels of its rank; on a link, among those handed to it, which
    return in this order.
    """

    returned: bool = False
    link: int | None = None
    """The link that it was last handed to; None while it waits."""

    attempts: list[float] = attrs.field(factory=lambda: list[float]())
    """The times of its attempts, without those that were provably not sent."""

    answer_until: float = inf

    @property
    def rank(self) -> int:
        return 2 * (not self.urgent) + (not self.returned)

    @property
    def deadline(self) -> float:
        """The deadline for sending while it waits, and then the deadline for the reply."""
        return (
            min(self.queue_until, self.until)
            if self.link is None
            else min(self.answer_until, self.until)
        )


@attrs.define(eq=False)
class Link:
    """A link that has not ended."""

    of_the_ledger: ClassVar = True

    number: int
    dial_until: float
    phase: str = "dialled"
    """`dialled`, then the progress of the login: `due`, `sent`, `ready`."""

    login_until: float = inf
    up_at: float = inf
    cut_at: float = inf
    """The age limit: when it is to be replaced."""

    warned: bool = False
    """Whether the exchange has announced that it is going away."""

    leaving: bool = False
    """Whether its successor is to be dialled."""

    left: bool = False
    """Whether its successor serves."""

    thrown_out: bool = False
    late: list[str] = attrs.field(factory=lambda: list[str]())
    hands: list[float] = attrs.field(factory=lambda: list[float]())
    resumes: float = -inf
    stuck: LinkTransmit | None = None
    refused: str | None = None
    hung_up: bool = False


@attrs.define(eq=False)
class Ledger:
    """What an observer knows about one session."""

    of_the_ledger: ClassVar = True

    now: float = 0.0
    wait: Wait = attrs.field(factory=lambda: Wait(None, None))
    open: dict[str, OpenCancel] = attrs.field(factory=lambda: dict[str, OpenCancel]())
    ended: list[str] = attrs.field(factory=lambda: list[str]())
    taken: int = 0
    turns: int = 0
    links: dict[int, Link] = attrs.field(factory=lambda: dict[int, Link]())
    dialled: int = 0
    serving: int | None = None
    down_since: float | None = None
    failures: int = 0
    """The number of unsteady links in a row."""

    dial_at: float = -inf
    not_before: float = -inf
    """When the next dial is due: by the backoff, and by the `retry_after` of the exchange."""

    dials: list[float] = attrs.field(factory=lambda: list[float]())

    stamp_refused: bool = False
    was_in_up: bool = False
    closing: bool = False
    again: bool = False
    """Whether `close` was called again."""

    close_at: float = inf
    closes: bool = False
    """Whether that deadline expires in this step."""

    ending: bool = False
    """Whether no more cancels are sent and no more links dialled."""

    end: WhyEnded | None = None
    stalls: bool = False
    resumes: float = -inf
    """After "too many requests": the earliest time of the next send."""

    spent: list[float] = attrs.field(factory=lambda: list[float]())
    resends: bool = False
    """Whether any taken cancel has `Policy.RESEND`."""

    spaced: dict[str, float] = attrs.field(factory=lambda: dict[str, float]())
    """The earliest time at which each order may be cancelled again."""

    own: bool = False
    """Whether a frame of the caller waits."""

    own_link: int | None = None
    """The link that it waits for; None for the next one."""

    # Input and outputs of the current step.
    given: Input = ()
    events: list[Any] = attrs.field(factory=lambda: list[Any]())
    outcomes: list[Any] = attrs.field(factory=lambda: list[Any]())
    gone: int | None = None
    over: list[int] = attrs.field(factory=lambda: list[int]())
    served: int | None = None
    served_for: float = 0.0
    """How long the ended link served, until Down reports it."""

    def queue(self) -> list[OpenCancel]:
        """The waiting cancels that have not expired, in the order of sending."""
        waiting = [
            cancel
            for cancel in self.open.values()
            if cancel.link is None and self.now < cancel.deadline
        ]
        return sorted(waiting, key=lambda cancel: (cancel.rank, cancel.turn))


@attrs.define(eq=False)
class Run:
    """A session and its ledger."""

    of_the_ledger: ClassVar = True

    core: Session
    ledger: Ledger


@attrs.define(eq=False, init=False)
class Before:
    """What was known before the step."""

    holder: dict[str, int | None]
    phase: str
    """The phase of the link of this input."""

    def __init__(self, ledger: Ledger, link: Link | None) -> None:
        self.holder = {id: cancel.link for id, cancel in ledger.open.items()}
        self.phase = "over" if link is None else link.phase


@attrs.frozen
class SessionWorld:
    """A session with these limits and possible inputs. Links are named `first` and `last`."""

    name: str
    config: SessionConfig
    alphabet: tuple[Input, ...]
    ids: tuple[str, ...] = ("a", "b")
    begin: tuple[Input, ...] = (("opened",), ("say", "last", "login 0"))
    reuse: bool = False
    """Whether an id is used again when it is free."""

    clock: tuple[str, ...] = ("tick", "pass", "late", "gap")

    # --- interface for the explorer ---

    def start(self) -> Run:
        run = Run(Session(self.config, CODEC, jitter=_no_jitter), Ledger())
        self.step(run, ("begin",), Counter())
        for given in self.begin:
            self.step(run, given, Counter())
        return run

    def key(self, run: Run) -> Hashable:
        ledger, now = run.ledger, run.ledger.now
        if ledger.end is not None:
            return None
        return key_of(run.core, now), self._key(ledger, now)

    def _key(self, ledger: Ledger, now: float) -> Hashable:
        """The ledger in canonical form, with everything that the core may have forgotten."""
        config = self.config
        order = {number: place for place, number in enumerate(ledger.links)}
        cancels = tuple(
            (
                cancel.id,
                cancel.rank,
                cancel.resend,
                None if cancel.link is None else order[cancel.link],
                min(len(cancel.attempts), 2),
                max(cancel.queue_until - now, -3.0),
                max(cancel.until - now, -3.0),
                cancel.answer_until - now,
                lately(cancel.taken_at, now, config.no_link_timeout),
            )
            for cancel in sorted(ledger.open.values(), key=lambda cancel: cancel.turn)
        )
        links = tuple(
            (
                link.phase,
                link.dial_until - now,
                link.login_until - now,
                lately(link.up_at, now, config.steady_after),
                max(link.cut_at - now, -3.0),
                link.warned,
                link.leaving,
                link.left,
                link.thrown_out,
                tuple(link.late),
                places(link.hands, now, config.link.messages_per_second),
                ahead(link.resumes, now),
                link.stuck and link.stuck.text,
            )
            for link in ledger.links.values()
        )
        return (
            cancels,
            links,
            () if self.reuse else tuple(sorted(ledger.ended)),
            (
                order.get(ledger.serving or 0),
                lately(ledger.down_since, now, config.no_link_timeout),
            ),
            min(ledger.failures, doublings(config.backoff_min, config.backoff_max)),
            (ahead(ledger.dial_at, now), ahead(ledger.not_before, now)),
            places(ledger.dials, now, config.dials_per_5_minutes, 300.0),
            (
                ledger.stamp_refused,
                ledger.was_in_up,
                ledger.closing,
                ledger.close_at - now,
                ledger.ending,
                ledger.stalls,
            ),
            (
                ahead(ledger.resumes, now),
                places(ledger.spent, now, config.link.messages_per_second),
            ),
            (ledger.resends, tuple((id, at - now) for id, at in ledger.spaced.items() if at > now)),
            (ledger.own, ledger.own_link is None),
            ledger.wait.until is not None and ledger.wait.until <= now,
        )

    def is_open(self, run: Run) -> bool:
        return bool(run.ledger.open)

    def inputs(self, run: Run) -> list[Input]:
        ledger = run.ledger
        if ledger.end is not None:
            return []
        given = on_the_clock(ledger.now, ledger.wait.until, self.clock)
        return given + [made for made in self.alphabet if self._makes_sense(made, ledger)]

    def _makes_sense(self, given: Input, ledger: Ledger) -> bool:
        match given:
            case ("opened",) | ("no dial", *_):
                return any(link.phase == "dialled" for link in ledger.links.values())
            case ("say", where, *_) | ("lost", where, *_):
                link = self._link(ledger, where)
                there = link is not None and link.phase != "dialled"
                return there and (
                    given[-1] != "unsent" or (link is not None and link.stuck is not None)
                )
            case ("answer", id, kind):
                cancel = ledger.open.get(id)
                if cancel is not None:
                    return cancel.link is not None
                return self._late_on(ledger, id) is not None and kind == "accepted"
            case ("cancel", *_):
                return self.reuse or ledger.taken < len(self.ids) or ledger.closing
            case ("stall",):
                return not ledger.stalls and not any(link.stuck for link in ledger.links.values())
            case ("written",):
                return any(link.stuck for link in ledger.links.values())
            case _:
                return True

    def _link(self, ledger: Ledger, where: str) -> Link | None:
        numbers = sorted(ledger.links)
        if not numbers:
            return None
        return ledger.links[numbers[0 if where == "first" else -1]]

    def _late_on(self, ledger: Ledger, id: str) -> Link | None:
        return next((link for link in ledger.links.values() if id in link.late), None)

    # --- one step ---

    def step(self, run: Run, given: Input, visited: Counter[Hashable]) -> None:
        core, ledger = run.core, run.ledger
        ledger.given, ledger.events, ledger.outcomes, ledger.over, ledger.gone = (
            given,
            [],
            [],
            [],
            None,
        )
        before = Before(ledger, self._about(ledger, given))
        visited[given[0], *(given[2:] if given[0] in ("answer", "say", "lost") else given[1:])] += 1
        getattr(self, f"_{given[0].replace(' ', '_')}")(run, *given[1:])
        self._drain(run, before, visited)
        self._check(run, before)
        visited[core.state] += 1

    def _about(self, ledger: Ledger, given: Input) -> Link | None:
        """The link of an input."""
        match given:
            case ("say", where, *_) | ("lost", where, *_):
                return self._link(ledger, where)
            case ("answer", id, _):
                cancel = ledger.open.get(id)
                holder = (
                    None if cancel is None or cancel.link is None else ledger.links.get(cancel.link)
                )
                return self._late_on(ledger, id) if holder is None else holder
            case ("opened",) | ("no dial", *_):
                return next(link for link in ledger.links.values() if link.phase == "dialled")
            case _:
                return None

    # Each of these makes one input, and updates the ledger.

    def _begin(self, run: Run) -> None:
        """The first drain."""

    def _opened(self, run: Run) -> None:
        ledger = run.ledger
        link = self._about(ledger, ("opened",))
        assert link is not None
        run.core.opened(link.number, ledger.now, login=LOGIN)
        link.phase, link.dial_until = "due", inf
        link.login_until = ledger.now + (self.config.link.login_timeout or inf)
        if self.config.lifetime is not None:
            link.cut_at = ledger.now + self.config.lifetime - self.config.rotate_before

    def _no_dial(self, run: Run, retry_after: str = "") -> None:
        ledger = run.ledger
        link = self._about(ledger, ("no dial",))
        assert link is not None
        if retry_after:
            ledger.not_before = max(ledger.not_before, ledger.now + float(retry_after))
        ledger.gone = link.number
        run.core.lost(link.number, ledger.now, "", (), float(retry_after) if retry_after else None)

    def _say(self, run: Run, where: str, text: str) -> None:
        ledger = run.ledger
        link = self._link(ledger, where)
        assert link is not None
        run.core.receive(link.number, text, ledger.now)
        code = text.partition(" ")[2]
        if (
            link.phase == "sent"
            and text.startswith(("login", "error"))
            and code not in ("0", *NO_LOGIN)
        ):
            link.refused = code
        if code == BUSY:
            link.resumes = ledger.resumes = ledger.now + PAUSE
        if code == GOING_AWAY:
            link.warned = True
            if link.number == ledger.serving and not ledger.ending:
                self._leave(ledger, link)
        if code in FATAL_ERRORS and link.phase == "ready":
            link.thrown_out = True

    def _answer(self, run: Run, id: str, kind: str) -> None:
        link = self._about(run.ledger, ("answer", id, kind))
        assert link is not None
        run.core.receive(link.number, f"{kind} {id}", run.ledger.now)

    def _lost(self, run: Run, where: str, unsent: str = "") -> None:
        ledger = run.ledger
        link = self._link(ledger, where)
        assert link is not None
        ids: list[str] = []
        if unsent and link.stuck is not None and link.stuck.ids:
            ids = [*link.stuck.ids]
            cancel = ledger.open.get(ids[0])
            if cancel is not None and cancel.link == link.number:
                cancel.attempts.pop()
        ledger.gone = link.number
        run.core.lost(link.number, ledger.now, "reason", ids)

    def _ghost(self, run: Run) -> None:
        """Inputs of a link that has ended are ignored; of one that never existed, refused."""
        ledger = run.ledger
        before = key_of(run.core, ledger.now)
        over = [number for number in range(1, ledger.dialled) if number not in ledger.links]
        for number in (0, ledger.dialled + 1):
            self._refused(run, partial(run.core.opened, number, ledger.now, login=LOGIN))
            self._refused(run, partial(run.core.receive, number, "accepted a", ledger.now))
            self._refused(run, partial(run.core.lost, number, ledger.now, "", ["a"]))
        for number in over[-1:]:
            run.core.opened(number, ledger.now, login=LOGIN)
            run.core.receive(number, "accepted a", ledger.now)
            run.core.receive(number, "login 0", ledger.now)
            run.core.lost(number, ledger.now, "", ["a"])
        require(key_of(run.core, ledger.now) == before, "inputs of an ended link are ignored")

    def _cancel(self, run: Run, how: str = "", policy: str = "") -> None:
        core, ledger, config = run.core, run.ledger, self.config
        id = self.ids[ledger.taken % len(self.ids)]
        timeout = 1.0 if how == "timeout" else None
        chosen = Policy(policy) if policy else None
        limit = config.link.max_in_flight
        if ledger.closing or ledger.ending or (limit is not None and len(ledger.open) >= limit):
            self._refused(run, lambda: core.cancel(ORDERS[id], ledger.now, id=f"{id}{id}"))
            return
        if id in ledger.open or self._late_on(ledger, id) is not None:
            self._refused(run, lambda: core.cancel(ORDERS[id], ledger.now, id=id))
            return
        urgent = how == "urgent"
        got = core.cancel(
            ORDERS[id], ledger.now, id=id, timeout=timeout, policy=chosen, urgent=urgent
        )
        self._refused(run, lambda: core.cancel(ORDERS[id], ledger.now, id=id))
        ledger.taken += 1
        ledger.resends = ledger.resends or (chosen or config.policy) is Policy.RESEND
        ledger.open[got] = OpenCancel(
            id=got,
            order=ORDERS[id],
            urgent=urgent,
            resend=(chosen or config.policy) is Policy.RESEND,
            taken_at=ledger.now,
            queue_until=ledger.now + (config.link.queue_timeout or inf),
            until=ledger.now + (timeout or inf),
            turn=self._turn(ledger),
        )

    def _turn(self, ledger: Ledger) -> int:
        ledger.turns += 1
        return ledger.turns

    def _withdraw(self, run: Run, id: str) -> None:
        cancel = run.ledger.open.get(id)
        unsent = cancel is not None and cancel.link is None and not cancel.attempts
        require(
            run.core.withdraw(id, run.ledger.now) is unsent,
            "withdraw returns True if the cancel was not sent",
            id,
        )

    def _send(self, run: Run) -> None:
        ledger = run.ledger
        if ledger.closing or ledger.ending or ledger.own:
            self._refused(run, lambda: run.core.send("subscribe", ledger.now))
            return
        run.core.send("subscribe", ledger.now)
        serving = None if ledger.serving is None else ledger.links[ledger.serving]
        ledger.own, ledger.own_link = (
            True,
            None if serving is None or serving.thrown_out else serving.number,
        )

    def _refused(self, run: Run, command: Any) -> None:
        """An invalid command is an error and changes nothing."""
        before = key_of(run.core, run.ledger.now)
        try:
            command()
        except LocalProtocolError:
            require(
                key_of(run.core, run.ledger.now) == before,
                "a refused command changes nothing",
            )
        else:
            require(False, "an invalid command is refused")

    def _close(self, run: Run, queued: Queued) -> None:
        ledger = run.ledger
        run.core.close(ledger.now, queued)
        if queued == "send" and not ledger.closing:
            ledger.close_at = ledger.now + (self.config.link.queue_timeout or inf)
        else:
            ledger.ending = True
        ledger.again = ledger.closing
        ledger.closing = True

    def _stall(self, run: Run) -> None:
        run.ledger.stalls = True

    def _written(self, run: Run) -> None:
        for link in run.ledger.links.values():
            link.stuck = None

    # --- the clock ---

    def _tick(self, run: Run) -> None:
        ledger = run.ledger
        assert ledger.wait.until is not None
        if ledger.wait.until > ledger.now:
            run.core.handle_timeout(ledger.now)
            polled = self._poll(run)
            require(polled == ledger.wait, "a timer that fires early is harmless", polled)
        self._fire(run, max(ledger.wait.until, ledger.now))

    def _late(self, run: Run) -> None:
        assert run.ledger.wait.until is not None
        self._fire(run, run.ledger.wait.until + 1)

    def _gap(self, run: Run) -> None:
        assert run.ledger.wait.until is not None
        run.ledger.now = run.ledger.wait.until + 1

    def _pass(self, run: Run) -> None:
        self._fire(run, run.ledger.now + 1)

    def _fire(self, run: Run, now: float) -> None:
        ledger = run.ledger
        ledger.now = now
        run.core.handle_timeout(now)
        ledger.closes = ledger.close_at <= now and not ledger.ending

    def _after_the_links(self, ledger: Ledger) -> None:
        """The session acts after its links, which may have left nothing to do."""
        serving = None if ledger.serving is None else ledger.links[ledger.serving]
        if (
            ledger.given[0] in FIRES
            and serving is not None
            and serving.cut_at <= ledger.now
            and not ledger.ending
        ):
            self._leave(ledger, serving)
        if ledger.closes or (ledger.closing and not ledger.open):
            ledger.ending, ledger.closes = True, False

    # --- links ---

    def _leave(self, ledger: Ledger, link: Link) -> None:
        """Mark that the successor of the serving link is to be dialled."""
        if not link.leaving:
            link.leaving = True
            self._back_off(ledger, ledger.now - link.up_at)

    def _back_off(self, ledger: Ledger, served: float = -1.0) -> None:
        """Compute the time of the next dial. The backoff doubles with each unsteady link."""
        config = self.config
        if served >= (config.steady_after or 0.0):
            ledger.failures = 0
        longest = config.backoff_max or inf
        ledger.dial_at = ledger.now + min(
            (config.backoff_min or 0.0) * 2.0**ledger.failures, longest
        )
        ledger.failures += 1

    def _hasten(self, ledger: Ledger, served: float) -> None:
        """A link due for replacement has ended: if it was steady, dial as after its loss."""
        if served >= (self.config.steady_after or 0.0):
            ledger.failures = 0
        if not ledger.failures and ledger.now + (self.config.backoff_min or 0.0) < ledger.dial_at:
            self._back_off(ledger)

    def _dial_opens(self, ledger: Ledger) -> float:
        """The earliest time at which a link may be dialled; infinity if none is needed."""
        serving = None if ledger.serving is None else ledger.links[ledger.serving]
        on_its_way = any(link.phase in _ON_ITS_WAY for link in ledger.links.values())
        if ledger.ending or on_its_way or (serving is not None and not serving.leaving):
            return inf
        return max(
            ledger.dial_at,
            ledger.not_before,
            _allowed_at(self.config.dials_per_5_minutes, ledger.dials, -inf, 300.0),
        )

    # --- checks of outputs ---

    def _poll(self, run: Run, back: float = 0.0) -> Any:
        ledger = run.ledger
        return run.core.poll(
            ledger.now - back, busy={link.number for link in ledger.links.values() if link.stuck}
        )

    def _drain(self, run: Run, before: Before, visited: Counter[Hashable]) -> None:
        ledger = run.ledger
        for number in itertools.count():
            output = self._poll(run)
            require(number < 40, "a drain ends with a Wait", output)
            if isinstance(output, Wait):
                visited[Wait, output.timer] += 1
                self._after_the_links(ledger)
                ledger.wait = output
                return
            require(ledger.end is None, "no output comes after Ended", output)
            sent = (output.sent,) if isinstance(output, Unresolved) else ()
            visited[type(output), *sent, getattr(output, "why", None)] += 1
            match output:
                case LinkTransmit():
                    self._handed_out(ledger, output)
                case Accepted() | Rejected() | Unresolved():
                    self._settled(ledger, before, output)
                    ledger.outcomes.append(output)
                    visited[type(output), output.attempts] += 1
                case Dial():
                    self._dialled(ledger, output)
                case LinkHangup():
                    link = ledger.links.get(output.link)
                    require(link is not None and not link.hung_up, "a link is hung up once", output)
                    assert link is not None
                    link.hung_up = True
                case LinkClosed():
                    self._link_over(ledger, output)
                case Up():
                    self._up(ledger, output)
                case Down():
                    require(
                        output.link == ledger.served, "Down is for the link that served", output
                    )
                    require(
                        output.up_for == ledger.served_for,
                        "Down has the time that the link served",
                        output,
                    )
                    ledger.served = None
                case Ended():
                    self._ended(ledger, output)
                case _:
                    ledger.events.append(output)

    def _handed_out(self, ledger: Ledger, frame: LinkTransmit) -> None:
        now, link = ledger.now, ledger.links.get(frame.link)
        require(link is not None, "a frame is for a link that has not ended", frame)
        assert link is not None
        require(link.stuck is None, "at most one frame is unwritten on a link", frame)
        require(
            not link.hung_up and not link.thrown_out,
            "no frame is sent after the hangup of a link",
            frame,
        )
        limit = self.config.link.messages_per_second
        require(
            _allowed_at(limit, link.hands, link.resumes) <= now,
            "no frame is sent faster than the pace allows",
            frame,
        )
        link.hands = [*link.hands[-2:], now]
        if ledger.stalls:
            ledger.stalls, link.stuck = False, frame
        if frame.secret:
            require(link.phase == "due", "the login is sent once, after `opened`", frame)
            link.phase = "sent"
            return
        require(link.phase in ("sent", "ready"), "the login is sent first", frame)
        if frame.text == "ping":
            return
        require(
            ledger.serving == link.number,
            "cancels and callers' frames are sent on the serving link",
            frame,
        )
        if not frame.ids:
            # With `queued="send"` the link sends its cancels although none is open any more.
            require(
                not ledger.ending or ledger.close_at < inf,
                "no frame is sent once the session ends",
                frame,
            )
            own = ledger.own and ledger.own_link == link.number
            require(frame.text == "subscribe" and own, "callers' frames are sent once", frame)
            ledger.own, ledger.own_link = False, None
            return
        require(not ledger.ending, "no cancel is sent once the session ends", frame)
        cancel = ledger.open.get(frame.ids[0])
        require(cancel is not None, "a sent cancel has no outcome yet", frame)
        assert cancel is not None
        require(cancel.link is None, "at most one link has a cancel", frame)
        require(
            cancel.resend or not cancel.attempts,
            "a cancel sent under REPORT is never sent again",
            frame,
        )
        require(now < cancel.deadline, "no cancel is sent after its deadline", frame)
        require(
            frame.text == f"cancel {cancel.order.order_id} {cancel.id}",
            "a frame is the encoded cancel",
            frame,
        )
        free = [other for other in ledger.queue() if self._spaced(ledger, other) <= now]
        require(
            free and cancel is free[0],
            "cancels are sent in order",
            frame,
            [other.id for other in free],
        )
        require(
            _allowed_at(limit, ledger.spent, ledger.resumes) <= now,
            "the links share one allowance",
            frame,
        )
        ledger.spent = [*ledger.spent[-2:], now]
        cancel.link, cancel.turn = link.number, self._turn(ledger)
        cancel.attempts.append(now)
        cancel.answer_until = now + (self.config.link.answer_timeout or inf)
        if ledger.resends:
            ledger.spaced[cancel.id] = now + (self.config.resend_interval or 0.0)

    def _spaced(self, ledger: Ledger, cancel: OpenCancel) -> float:
        """The earliest time at which it may be sent again."""
        return ledger.spaced.get(cancel.id, -inf) if cancel.attempts else -inf

    def _settled(
        self, ledger: Ledger, before: Before, outcome: Accepted | Rejected | Unresolved
    ) -> None:
        cancel, now, given = ledger.open.pop(outcome.id, None), ledger.now, ledger.given
        require(
            cancel is not None, "an outcome is for a cancel that was taken and has none", outcome
        )
        assert cancel is not None
        attempts = len(cancel.attempts)
        require(outcome.order == cancel.order, "an outcome has the order of its cancel", outcome)
        require(
            outcome.taken_at == cancel.taken_at,
            "an outcome has the time when its cancel was taken",
            outcome,
        )
        require(outcome.resolved_at == now, "an outcome has the time when it was decided", outcome)
        require(
            outcome.attempts == max(attempts, 1),
            "an outcome has the number of attempts",
            outcome,
            attempts,
        )
        sent_at = cancel.attempts[-1] if attempts else None
        require(
            outcome.sent_at == sent_at,
            "an outcome has the time when its cancel was last sent",
            outcome,
            sent_at,
        )
        answer = None
        if (
            given[0] == "answer"
            and given[1] == outcome.id
            and before.holder.get(outcome.id) is not None
        ):
            answer = given[2]
        ledger.ended.append(outcome.id)
        if not isinstance(outcome, Unresolved):
            code = outcome.code if isinstance(outcome, Rejected) else "accepted"
            expected = (
                "accepted"
                if answer == "accepted"
                else CODE.get(answer or "")
                if answer in REFUSED
                else None
            )
            require(code == expected, "an outcome repeats the exchange's reply", outcome)
            final = answer in ("accepted", "finished")
            require(
                final or attempts == 1,
                "after a resend only Accepted and FINISHED are final",
                outcome,
            )
            return
        require(
            outcome.sent == bool(attempts),
            "`sent` is true when any attempt was handed out",
            outcome,
        )
        on_link = cancel.link is not None
        match outcome.why:
            case WhyUnresolved.TIMEOUT:
                holds = given[0] in FIRES and cancel.deadline <= now
            case WhyUnresolved.LOST:
                holds = (
                    on_link
                    and (given[0] == "lost" or given[0] in FIRES)
                    and (ledger.ending or not cancel.resend)
                )
            case WhyUnresolved.CLOSED:
                link = None if cancel.link is None else ledger.links[cancel.link]
                ending = ledger.ending or ledger.closes
                holds = ending or (link is not None and link.thrown_out and not cancel.resend)
            case WhyUnresolved.UNSURE:
                resent = answer in REFUSED and attempts > 1
                holds = (answer in UNSURE or resent) and outcome.code == CODE.get(answer or "")
            case WhyUnresolved.WITHDRAWN:
                holds = given == ("withdraw", outcome.id) and not attempts
            case WhyUnresolved.NO_LINK:
                holds = (
                    given[0] in FIRES and not on_link and self._no_link_until(ledger, cancel) <= now
                )
            case _:
                holds = False
        require(holds, "the reason of an outcome holds", outcome)
        if cancel.link in ledger.links and attempts and answer not in REFUSED:
            ledger.links[cancel.link].late.append(outcome.id)

    def _no_link_until(self, ledger: Ledger, cancel: OpenCancel) -> float:
        """The deadline of a waiting cancel while no link serves."""
        if ledger.serving is not None or cancel.link is not None:
            return inf
        since = (
            cancel.taken_at
            if ledger.down_since is None
            else max(cancel.taken_at, ledger.down_since)
        )
        return since + (self.config.no_link_timeout or inf)

    def _dialled(self, ledger: Ledger, dial: Dial) -> None:
        self._after_the_links(ledger)
        now = ledger.now
        require(dial.link == ledger.dialled + 1, "links are numbered from 1", dial)
        require(
            self._dial_opens(ledger) <= now,
            "a link is dialled only when needed, and not too early",
            dial,
        )
        require(
            dial.stamp_refused == ledger.stamp_refused,
            "a Dial says whether the timestamp was refused",
            dial,
        )
        ledger.dialled = dial.link
        ledger.dials = [*ledger.dials[-2:], now]
        ledger.links[dial.link] = Link(dial.link, now + (self.config.dial_timeout or inf))
        if ledger.serving is None and ledger.down_since is None:
            ledger.down_since = now

    def _up(self, ledger: Ledger, up: Up) -> None:
        link = ledger.links.get(up.link)
        require(
            link is not None and link.phase == "sent",
            "a link serves when its login is accepted",
            up,
        )
        assert link is not None
        require(
            ledger.given[::2] == ("say", "login 0"), "a link serves when its login is accepted", up
        )
        link.phase, link.login_until, link.up_at = "ready", inf, ledger.now
        down_for = (
            0.0
            if ledger.serving is not None or ledger.down_since is None
            else ledger.now - ledger.down_since
        )
        require(up.down_for == down_for, "Up has the time without a serving link", up, down_for)
        if ledger.own_link is not None:
            # The previous link is replaced, and drops its cancels.
            ledger.own, ledger.own_link = False, None
        if ledger.own:
            ledger.own_link = link.number
        if ledger.serving is not None:
            ledger.links[ledger.serving].left = True
        ledger.serving, ledger.down_since = link.number, None
        ledger.stamp_refused, ledger.was_in_up = False, True
        if link.warned:
            self._leave(ledger, link)

    def _link_over(self, ledger: Ledger, closed: LinkClosed) -> None:
        if closed.why is WhyClosed.ASKED:
            self._after_the_links(ledger)
        link = ledger.links.pop(closed.link, None)
        require(link is not None, "a link ends once", closed)
        assert link is not None
        require(
            link.hung_up != (link.number == ledger.gone),
            "a link has a hangup unless it is lost",
            closed,
        )
        ledger.over.append(link.number)
        if ledger.own_link == link.number:
            # "A link that ends drops what it was given."
            ledger.own, ledger.own_link = False, None
        held = [cancel for cancel in ledger.open.values() if cancel.link == link.number]
        for cancel in sorted(held, key=lambda cancel: cancel.turn):
            back = not ledger.ending and (cancel.resend or not cancel.attempts)
            require(
                back,
                "when a link ends, its cancels have an outcome or wait again",
                closed,
                cancel.id,
            )
            cancel.link, cancel.returned, cancel.answer_until = None, True, inf
            cancel.turn = self._turn(ledger)
        if link.refused in STAMP_REFUSED and not ledger.ending:
            again, ledger.stamp_refused = ledger.stamp_refused, True
            if again and not ledger.was_in_up:
                ledger.ending = True
        if link.refused in REFUSED_FOR_GOOD and ledger.serving is None:
            ledger.ending = True
        if link.number == ledger.serving:
            ledger.serving, ledger.down_since = None, ledger.now
            if not ledger.ending:
                ledger.served, ledger.served_for = link.number, ledger.now - link.up_at
                on_its_way = any(other.phase in _ON_ITS_WAY for other in ledger.links.values())
                if not link.leaving:
                    self._back_off(ledger, ledger.served_for)
                elif not on_its_way:
                    self._hasten(ledger, ledger.served_for)
        elif link.phase in _ON_ITS_WAY and not ledger.ending:
            self._back_off(ledger)

    def _ended(self, ledger: Ledger, ended: Ended) -> None:
        require(not ledger.open, "at the end each cancel has an outcome", ended, *ledger.open)
        require(not ledger.links, "at the end each link has ended", ended, *ledger.links)
        ledger.end = ended.why
        match ended.why:
            case WhyEnded.ASKED:
                holds = ledger.closing
            case WhyEnded.REFUSED:
                holds = ended.code in REFUSED_FOR_GOOD and ledger.serving is None
            case WhyEnded.STAMP_REFUSED:
                holds = ended.code in STAMP_REFUSED and not ledger.was_in_up
            case _:
                holds = False
        require(holds, "the reason of the end holds", ended)

    # --- checks for missing outputs ---

    def _check(self, run: Run, before: Before) -> None:
        core, ledger = run.core, run.ledger
        now, given, wait = ledger.now, ledger.given, ledger.wait
        for back in (0.0, 1.0):
            polled = self._poll(run, back)
            require(polled == wait, "polling again after a Wait gives an equal one", wait, polled)
        require(
            core.in_flight == len(ledger.open),
            "in_flight counts the cancels without an outcome",
            core.in_flight,
        )
        limit = self.config.link.max_in_flight or 1_000_000
        refusing = ledger.closing or ledger.ending
        capacity = 0 if refusing else limit - len(ledger.open)
        require(
            core.capacity == capacity or capacity > 1_000,
            "capacity counts the free places",
            core.capacity,
        )
        self._check_events(ledger, before)
        if given[0] in ("lost", "no dial"):
            require(ledger.over, "a lost transport ends its link")
        if given[0] == "withdraw" and given[1] in before.holder:
            waits = given[1] in ledger.open and not ledger.open[given[1]].attempts
            require(
                not waits or ledger.open[given[1]].link is not None,
                "a withdrawn cancel has an outcome",
                given[1],
            )
        if ledger.end is not None:
            self._check_over(run)
            return
        require(not ledger.again, "a second close ends it at once")
        require(core.state is not SessionState.ENDED, "the state is ended after Ended")
        require(ledger.served is None, "Down comes when a link stops serving", ledger.served)
        if given[::2] == ("say", "login 0") and before.phase == "sent":
            require(
                any(link.up_at == now for link in ledger.links.values()),
                "an accepted login causes an Up",
            )
        if ledger.ending:
            require(
                all(cancel.link is not None for cancel in ledger.open.values()),
                "a cancel that can no longer be sent has an outcome",
            )
            require(ledger.links, "a closing session without links ends")
        held = {cancel.link for cancel in ledger.open.values()}
        idle = [link.number for link in ledger.links.values() if link.left and not link.thrown_out]
        require(
            held.issuperset(idle), "a replaced link ends when all its cancels are answered", idle
        )
        if given[0] in FIRES:
            over = [cancel.id for cancel in ledger.open.values() if cancel.deadline <= now]
            require(not over, "an expired cancel has an outcome", over)
            over = [
                id
                for id, cancel in ledger.open.items()
                if self._no_link_until(ledger, cancel) <= now
            ]
            require(not over, "a cancel without a link has its outcome in time", over)
            late = [
                link.number
                for link in ledger.links.values()
                if min(link.dial_until, link.login_until) <= now
            ]
            require(not late, "a link that is not up in time is dropped", late)
            require(
                wait.until is None or wait.until > now, "firing what is due makes progress", wait
            )
        self._check_wait(ledger)

    def _check_events(self, ledger: Ledger, before: Before) -> None:
        """Each message has exactly one consequence."""
        given = ledger.given
        came = [kind_of(event) for event in ledger.events]
        expected, settles = self._consequence(given, before)
        require(
            came == ([] if expected is None else [expected]),
            "a message has exactly one consequence",
            came,
            expected,
        )
        answered = [o.id for o in ledger.outcomes if given[0] == "answer" and given[1] == o.id]
        require(
            answered == ([settles] if settles else []),
            "a reply settles the cancel that it names",
            answered,
        )
        if expected == (LateReply, None):
            for link in ledger.links.values():
                if given[1] in link.late:
                    link.late.remove(given[1])

    def _consequence(
        self, given: Input, before: Before
    ) -> tuple[tuple[type[Any], Hashable] | None, str | None]:
        if given[0] == "answer":
            if given[2] == "elsewhere":
                return (Unrecognised, WhyUnrecognised.OTHER_REQUEST), None
            if before.holder.get(given[1]) is not None:
                return None, given[1]
            return (LateReply, None), None
        if given[0] != "say":
            return None, None
        what, _, code = given[2].partition(" ")
        if what == "login":
            if before.phase == "ready":
                return (Unrecognised, WhyUnrecognised.UNEXPECTED), None
            if before.phase == "due":
                return (Unrecognised, WhyUnrecognised.NEVER_SENT), None
            return (None if code == "0" else (LoginRejected, None)), None
        if what == "pong":
            return None, None
        if code == GOING_AWAY:
            return (GoingAway, None), None
        refused = before.phase == "sent" and code not in NO_LOGIN
        return (LoginRejected, None) if refused else (ExchangeError, None), None

    def _check_over(self, run: Run) -> None:
        """After the end no input has an effect."""
        core, now, over = run.core, run.ledger.now, Wait(None, None)
        require(
            run.ledger.wait == over, "after the end there is nothing to wait for", run.ledger.wait
        )
        for link in range(1, run.ledger.dialled + 1):
            core.receive(link, "accepted a", now + 9)
            core.lost(link, now + 9, "", ["a"])
        core.handle_timeout(now + 9)
        core.close(now + 9)
        require(core.withdraw("a", now + 9) is False, "after the end no cancel is withdrawn")
        require(core.poll(now + 9) == over, "no output comes after the end")
        require(core.state is SessionState.ENDED, "the state is ended after Ended", core.state)

    def _check_wait(self, ledger: Ledger) -> None:
        """The end of a drain: no output is held back, and the Wait is not too late."""
        now, wait = ledger.now, ledger.wait
        due = [cancel.deadline for cancel in ledger.open.values()]
        due += [self._no_link_until(ledger, cancel) for cancel in ledger.open.values()]
        due += [min(link.dial_until, link.login_until) for link in ledger.links.values()]
        serving = None if ledger.serving is None else ledger.links[ledger.serving]
        if (
            serving is not None
            and not serving.thrown_out
            and not serving.stuck
            and not ledger.ending
        ):
            opens = [self._spaced(ledger, cancel) for cancel in ledger.queue()]
            limit = self.config.link.messages_per_second
            paced = max(
                _allowed_at(limit, serving.hands, serving.resumes),
                _allowed_at(limit, ledger.spent, ledger.resumes),
            )
            if opens:
                require(max(min(opens), paced) > now, "a frame that may be sent is sent")
                due.append(max(min(opens), paced))
        due.append(self._dial_opens(ledger))
        require(due[-1] > now, "a needed link is dialled when it is due")
        first = min(due, default=inf)
        until = inf if wait.until is None else wait.until
        require(until <= first, "a Wait is not later than the earliest deadline", wait, first)


def _allowed_at(
    limit: int | None, moments: list[float], resumes: float, window: float = 1.0
) -> float:
    """The earliest time of one more send: a limit per window, and none before `resumes`."""
    return (
        resumes if limit is None or len(moments) < limit else max(moments[-limit] + window, resumes)
    )


def _no_jitter() -> float:
    return 0.0
