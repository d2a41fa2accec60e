"""What can be wrong with a bad day. Each judge gives faults in words, and nothing when all was right.

Rules of this file
- The exchange's record decides: what arrived there, what it did and said. Of the client there is used which cancels it took,
  which outcomes and events came out, and when by the clock of the harness.
- A judge that has nothing to look at says so: a day on which nothing happened is not right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.days.day import Day
from tests.chaos.judge import Log, broken_promises, name_of

from bitget_proto import (
    Accepted,
    Closed,
    Ended,
    ExchangeError,
    LoginRejected,
    Outcome,
    Policy,
    Rejected,
    Unresolved,
    WhyEnded,
    WhyUnresolved,
)

_LIMIT = 10
"""Messages of a link, and cancels of an account, in any second."""

_WINDOW = 1.0
_TINY = 1e-6
"""Seconds by which sums of floats may be off."""


def honest(day: Day) -> Iterator[str]:
    """Each cancel has exactly one outcome, and none claims more than the exchange's log shows."""
    if not day.taken:
        yield "no cancel was taken"
    received = Counter(cancel.id for cancel in day.received())
    for id in {outcome.id for outcome in day.outcomes} - set(day.taken):
        yield f"cancel {id}: an outcome, and it was never taken"
    for policy in Policy:
        taken = {id: cancel for id, cancel in day.taken.items() if cancel.policy is policy}
        outcomes = [outcome for outcome in day.outcomes if outcome.id in taken]
        counts = Counter(outcome.id for outcome in outcomes)
        asked: Counter[str] = Counter()
        for id, cancel in taken.items():
            # One that was interrupted was perhaps not taken, unless it has arrived.
            asked[name_of(cancel.order)] += 1 if cancel.sure or received[id] else min(counts[id], 1)
        yield from broken_promises(+asked, outcomes, Log(day.acts, received), policy, {})


def all_accepted(day: Day, *, but: int = 0) -> Iterator[str]:
    """The exchange cancelled every order that was asked for, by the request that says so, but for so many at most."""
    acted = {act.id for act in day.acts if act.cancelled}
    accepted = {outcome.id for outcome in day.outcomes if isinstance(outcome, Accepted)}
    missing = [id for id in day.taken if id not in acted or id not in accepted]
    if len(missing) > but:
        yield f"{len(missing)} of {len(day.taken)} cancels were not accepted and acted on: {_few(missing)}"


def all_cancelled(day: Day) -> Iterator[str]:
    """No order that was to be cancelled is live at the end."""
    live = [
        name for name in (name_of(taken.order) for taken in day.taken.values()) if name in day.live
    ]
    if live:
        yield f"{len(live)} orders are still live: {_few(live)}"


def none_too_late(day: Day, *, seconds: float) -> Iterator[str]:
    """Every cancel has its outcome within so many seconds."""
    for given in day.outcomes_given():
        cancel = day.taken.get(_id(given.event))
        if cancel is not None and given.at > cancel.at + seconds + _TINY:
            yield f"cancel {_id(given.event)}: its outcome came after {given.at - cancel.at:.2f} s, not {seconds:g} s"
    if not day.outcomes:
        yield "no outcome came"


def at_full_speed(day: Day, *, factor: float) -> Iterator[str]:
    """The cancels taken at the mark `all` arrive within so many times the least that the exchange's limit allows."""
    first = day.marks["all"]
    ids = {id for id, taken in day.taken.items() if taken.at == first}
    arrived = [cancel.at for cancel in day.received() if cancel.id in ids]
    least = (len(ids) - _LIMIT) / _LIMIT
    if len(arrived) < len(ids):
        yield f"{len(arrived)} of {len(ids)} arrived"
    elif arrived[-1] - first > factor * least:
        yield f"the last arrived after {arrived[-1] - first:.2f} s, the least is {least:.2f} s"


def urgent_next(day: Day) -> Iterator[str]:
    """Of the cancels that wait at the mark `urgent`, the one taken then is the next to arrive."""
    taken = day.marks["urgent"]
    urgent = next(id for id, cancel in day.taken.items() if cancel.at == taken)
    arrived = list(day.received())
    places = [place for place, cancel in enumerate(arrived) if cancel.id == urgent]
    if not places:
        yield "the urgent one did not arrive"
        return
    before = [
        cancel
        for cancel in arrived[: places[0]]
        if cancel.at > taken + day.marks["latency"] + _TINY
    ]
    if before:
        yield f"{len(before)} others left before the urgent one"
    if not arrived[places[0] + 1 :]:
        yield "nothing waited behind the urgent one"


def in_the_limits(day: Day) -> Iterator[str]:
    """No second holds more messages of a link than ten, no link is thrown out, and no cancel is over the account's limit."""
    links: dict[int, list[float]] = {}
    for frame in day.frames:
        if frame.direction == "received":
            links.setdefault(frame.link, []).append(frame.at)
    if not links:
        yield "nothing arrived"
    for link, times in links.items():
        for first, last in zip(times, times[_LIMIT:], strict=False):
            if last - first < _WINDOW:
                yield f"link {link}: {_LIMIT + 1} messages in {last - first:.3f} s at {first:.2f} s"
                break
    for frame in day.said('"code":30007'):
        yield f"link {frame.link} was thrown out at {frame.at:.2f} s"
    over = [act.id for act in day.acts if act.code == "429" and act.id in day.taken]
    if over:
        yield f"{len(over)} cancels were over the account's limit: {_few(over)}"


def spaced(day: Day) -> Iterator[str]:
    """No order is cancelled twice within a second, which the exchange answers with 45129."""
    for act in day.acts:
        if act.code == "45129":
            yield f"cancel {act.id} came within a second of the one before, at {act.at:.2f} s"


def pauses(day: Day) -> Iterator[str]:
    """For a second after "request too many" has reached the client, no cancel leaves."""
    latency = day.marks["latency"]
    warnings = [frame.at for frame in day.said('"code":30006')]
    if not warnings:
        yield "the exchange never said 30006"
    arrived = [cancel.at for cancel in day.received()]
    for at in warnings:
        early = [
            when
            for when in arrived
            if at + 2 * latency + _TINY < when < at + 2 * latency + _WINDOW - _TINY
        ]
        if early:
            yield f"after the 30006 of {at:.2f} s one arrived at {early[0]:.2f} s"


def none_unsent(day: Day) -> Iterator[str]:
    """Every cancel reached the exchange: none was given up that could have been sent."""
    arrived = {cancel.id for cancel in day.received()}
    missing = [id for id in day.taken if id not in arrived]
    if missing:
        yield f"{len(missing)} of {len(day.taken)} never arrived: {_few(missing)}"


def refused(day: Day, *, code: str) -> Iterator[str]:
    """The exchange gave this code to some cancels, and just these are `Rejected` with it."""
    gave = {act.id for act in day.acts if act.code == code and act.id in day.taken}
    said = {
        outcome.id
        for outcome in day.outcomes
        if isinstance(outcome, Rejected) and outcome.code == code
    }
    if not gave:
        yield f"the exchange never answered {code}"
    if gave != said:
        yield f"{code} was the answer to {len(gave)} cancels, and {len(said)} say so: {_few(sorted(gave ^ said))}"


# --- links ---


def back_within(day: Day, *, mark: str, seconds: float) -> Iterator[str]:
    """A login is accepted within so many seconds of a moment, and the cancels taken from then on are accepted."""
    moment = day.marks[mark]
    logins = [frame.at for frame in day.said('"event":"login"') if frame.at > moment]
    if not logins or logins[0] > moment + seconds:
        when = (
            f"the first login was accepted {logins[0] - moment:.1f} s after it"
            if logins
            else "no login was accepted"
        )
        yield f"{mark}: {when}, not within {seconds:g} s"
        return
    yield from _accepted_from(day, logins[0], f"after {mark}")


def served_until(day: Day, *, mark: str) -> Iterator[str]:
    """The cancels taken in the ten seconds and more before a moment are all accepted."""
    until = day.marks[mark]
    before = [id for id, taken in day.taken.items() if taken.at < until - 1.0]
    if not before:
        yield f"no cancel was taken before {mark}"
    bad = set(before) - {act.id for act in day.acts if act.cancelled}
    if bad:
        yield f"{len(bad)} of {len(before)} cancels before {mark} were not acted on: {_few(sorted(bad))}"


def unsent_for_want_of_a_link(day: Day, *, down: str, seconds: float) -> Iterator[str]:
    """A cancel taken after the mark `down` and too early for the next link ends NO_LINK, unsent, after so many seconds."""
    began = day.marks[down]
    back = next((frame.at for frame in day.said('"event":"login"') if frame.at > began), None)
    if back is None:
        yield "no link served again"
        return
    ended = {_id(given.event): given for given in day.outcomes_given()}
    arrived = {cancel.id for cancel in day.received()}
    waiting = {
        id: taken for id, taken in day.taken.items() if began <= taken.at < back - seconds - 1.0
    }
    if not waiting:
        yield "no cancel was taken while no link served"
    for id, taken in waiting.items():
        given = ended.get(id)
        outcome = None if given is None else given.event
        if (
            given is None
            or not isinstance(outcome, Unresolved)
            or outcome.why is not WhyUnresolved.NO_LINK
        ):
            yield f"cancel {id}: {outcome!r}"
        elif outcome.sent or id in arrived:
            yield f"cancel {id}: sent while no link served"
        elif abs(given.at - taken.at - seconds) > 0.1:
            yield f"cancel {id}: ended after {given.at - taken.at:.2f} s, not {seconds:g} s"


def found_out(day: Day, *, mark: str, seconds: float) -> Iterator[str]:
    """The first frame of another link arrives within so many seconds of the first cancel taken after the link has died."""
    died = day.marks[mark]
    asked = min((taken.at for taken in day.taken.values() if taken.at > died), default=None)
    dead = max((frame.link for frame in day.frames if frame.at <= died), default=0)
    later = [
        frame.at for frame in day.frames if frame.direction == "received" and frame.link > dead
    ]
    if asked is None or not later:
        yield "no other link came up"
    elif later[0] > asked + seconds:
        yield f"another link came up after {later[0] - asked:.2f} s, not {seconds:g} s"


def nothing_from_the_dead(day: Day, *, mark: str) -> Iterator[str]:
    """What the dead link held is never delivered, though its route comes back."""
    died = day.marks[mark]
    dead = max((frame.link for frame in day.frames if frame.at <= died), default=0)
    late = [
        frame
        for frame in day.frames
        if frame.direction == "received" and frame.link == dead and frame.at > died
    ]
    if not dead:
        yield "no link was there to die"
    if late:
        yield f"{len(late)} frames of link {dead} arrived after it had died, the first at {late[0].at:.2f} s"


def one_link(day: Day) -> Iterator[str]:
    """The link that was dialled first is the only one: it was never taken for dead."""
    if (links := {frame.link for frame in day.frames}) != {1}:
        yield f"links {sorted(links)} were used, one was right"
    if len(day.dials) > 1:
        yield f"{len(day.dials)} dials"


def informed(day: Day, *, code: str) -> Iterator[str]:
    """Each login that the exchange refused with this code is an event."""
    refused = sum(1 for _ in day.said(f'"code":{code}'))
    kinds = (LoginRejected, ExchangeError)
    events = [
        given.event
        for given in day.given
        if isinstance(given.event, kinds) and given.event.code == code
    ]
    if not refused:
        yield f"the exchange refused no login with {code}"
    if refused != len(events):
        yield f"{refused} logins were refused with {code}, and {len(events)} events say so"


def not_over(day: Day) -> Iterator[str]:
    """The session has not ended."""
    for at in day.when(Ended):
        yield f"the session ended at {at:.1f} s"


def over_because(day: Day, *, why: WhyEnded, mark: str, seconds: float) -> Iterator[str]:
    """The session ends for this reason within so many seconds of a moment, once, and dials no more."""
    moment = day.marks[mark]
    ends = [(given.at, given.event) for given in day.given if isinstance(given.event, Ended)]
    if [end.why for _, end in ends] != [why]:
        yield f"it ended {[end.why.value for _, end in ends]}, not with {why.value!r}"
        return
    at = ends[0][0]
    if not moment <= at <= moment + seconds:
        yield f"it ended {at - moment:.2f} s after {mark}, not within {seconds:g} s"
    if any(dial > at for dial in day.dials):
        yield "it dialled after its end"


def dials(day: Day, *, most: int) -> Iterator[str]:
    """The network was asked for at least one link, and for no more than so many."""
    if not 1 <= len(day.dials) <= most:
        yield f"{len(day.dials)} dials, not 1 to {most}"


def waits_as_asked(day: Day, *, seconds: float) -> Iterator[str]:
    """No dial follows a refused one before the time that `Retry-After` asked for."""
    if len(day.dials) < 2:
        yield f"{len(day.dials)} dials: it was never dialled again"
    for first, then in pairwise(day.dials[: int(day.marks["refused"]) + 1]):
        if then - first < seconds - _TINY:
            yield f"dialled again after {then - first:.2f} s, not {seconds:g} s"


# --- old frames, interruptions, writers ---


def nothing_old(day: Day, *, mark: str) -> Iterator[str]:
    """No cancel that was taken before a moment arrives after it."""
    moment = day.marks[mark]
    old = [id for id, taken in day.taken.items() if taken.at < moment]
    late = [cancel for cancel in day.received() if cancel.id in old and cancel.at > moment]
    if not old:
        yield f"no cancel was taken before {mark}"
    if late:
        yield f"{len(late)} old cancels arrived after {mark}: {_few([cancel.id for cancel in late])}"


def settled_by(day: Day, *, mark: str, within: float) -> Iterator[str]:
    """What was taken before a moment has its outcome within so many seconds of it."""
    moment = day.marks[mark]
    ended = {_id(given.event): given.at for given in day.outcomes_given()}
    for id, taken in day.taken.items():
        if taken.at < moment and ended.get(id, moment + within + 1) > moment + within + _TINY:
            yield f"cancel {id}: no outcome within {within:g} s of {mark}"


def arrived_before(day: Day, *, mark: str, count: int) -> Iterator[str]:
    """Of the cancels taken before a moment just so many have arrived by then."""
    moment = day.marks[mark]
    arrived = [cancel.id for cancel in day.received() if cancel.at <= moment]
    if len(arrived) != count:
        yield f"{len(arrived)} arrived before {mark}, not {count}"


def known_unsent(day: Day, *, least: int) -> Iterator[str]:
    """Of the cancels that never arrived, at least so many are `Unresolved` and known not to be sent."""
    arrived = {cancel.id for cancel in day.received()}
    known = [
        o.id
        for o in day.outcomes
        if isinstance(o, Unresolved) and not o.sent and o.id not in arrived
    ]
    if len(known) < least:
        yield f"{len(known)} are known to be unsent, not {least}"


def interrupted(day: Day, *, least: float) -> Iterator[str]:
    """At least this part of the lives was interrupted, each life has an end, and the library raised nothing of its own."""
    lives, struck, ended = (
        day.marks["lives"],
        day.marks["struck"],
        len(day.when(Closed)) + len(day.when(Ended)),
    )
    if struck < least * lives:
        yield f"{struck:.0f} of {lives:.0f} lives were interrupted"
    if ended != lives:
        yield f"{ended} of {lives:.0f} lives have an end"
    for error in day.raised:
        yield f"the library raised {error}"


def none_swallowed(day: Day) -> Iterator[str]:
    """What a signal handler raised in a call of the library has come out of it."""
    if swallowed := day.marks["swallowed"]:
        yield f"{swallowed:.0f} of {day.marks['struck']:.0f} exceptions never came out"


def no_answer_for_another(day: Day) -> Iterator[str]:
    """An answer to a placement settles no cancel: each answered one says what the exchange did with that very cancel."""
    placed = sum(1 for _ in day.said('"place-order"'))
    if placed < 2:
        yield "no placement was answered"
    codes: dict[str, set[str]] = {}
    for act in day.acts:
        codes.setdefault(act.id, set()).add(act.code)
    for outcome in day.outcomes:
        if (code := _code(outcome)) is not None and code not in codes.get(outcome.id, set()):
            yield f"cancel {outcome.id}: {code} was not the exchange's answer to it"
    if not any(_code(outcome) is not None for outcome in day.outcomes):
        yield "no cancel was answered"


# --- words ---


def _accepted_from(day: Day, moment: float, when: str) -> Iterator[str]:
    later = {id: taken for id, taken in day.taken.items() if taken.at > moment}
    bad = set(later) - {act.id for act in day.acts if act.cancelled}
    if not later:
        yield f"no cancel was taken {when}"
    if bad:
        yield f"{len(bad)} of {len(later)} cancels {when} were not acted on: {_few(sorted(bad))}"


def _code(outcome: Outcome) -> str | None:
    if isinstance(outcome, Accepted):
        return "0"
    return outcome.code


def _id(event: object) -> str:
    return event.id if isinstance(event, Accepted | Rejected | Unresolved) else ""


def _few(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
