"""Judges of the scenarios: each yields a message for each fault in a record.

- The exchange's record decides: what arrived there, what it did and what it sent. From the client,
  a judge uses only the cancels that it took and its outcomes and events, with their times on the
  clock of the harness.
- A judge with nothing to check yields a fault: a scenario in which nothing happened has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.days.day import Record
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
"""Limit of messages of a link, and of cancels of an account, in any second."""

_WINDOW = 1.0
_TINY = 1e-6
"""Tolerance in seconds for sums of floats."""


def honest(record: Record) -> Iterator[str]:
    """Each cancel has exactly one outcome, and none claims more than the exchange's log shows."""
    if not record.taken:
        yield "no cancel was taken"
    received = Counter(cancel.id for cancel in record.received())
    for id in {outcome.id for outcome in record.outcomes} - set(record.taken):
        yield f"cancel {id}: has an outcome, but was never taken"
    for policy in Policy:
        taken = {id: cancel for id, cancel in record.taken.items() if cancel.policy is policy}
        outcomes = [outcome for outcome in record.outcomes if outcome.id in taken]
        counts = Counter(outcome.id for outcome in outcomes)
        asked: Counter[str] = Counter()
        for id, cancel in taken.items():
            # An interrupted call may not have taken its cancel, unless the cancel arrived.
            asked[name_of(cancel.order)] += 1 if cancel.sure or received[id] else min(counts[id], 1)
        yield from broken_promises(+asked, outcomes, Log(record.acts, received), policy, {})


def all_accepted(record: Record, *, but: int = 0) -> Iterator[str]:
    """All cancels except at most `but` were accepted, and the exchange acted on each."""
    acted = {act.id for act in record.acts if act.cancelled}
    accepted = {outcome.id for outcome in record.outcomes if isinstance(outcome, Accepted)}
    missing = [id for id in record.taken if id not in acted or id not in accepted]
    if len(missing) > but:
        count = f"{len(missing)} of {len(record.taken)}"
        yield f"{count} cancels were not accepted and acted on: {_few(missing)}"


def all_cancelled(record: Record) -> Iterator[str]:
    """No order that should be cancelled is live at the end."""
    live = [
        name
        for name in (name_of(taken.order) for taken in record.taken.values())
        if name in record.live
    ]
    if live:
        yield f"{len(live)} orders are still live: {_few(live)}"


def outcomes_in_time(record: Record, *, seconds: float) -> Iterator[str]:
    """Every cancel has its outcome within `seconds`."""
    for given in record.outcomes_given():
        cancel = record.taken.get(_id(given.event))
        if cancel is not None and given.at > cancel.at + seconds + _TINY:
            took = f"{given.at - cancel.at:.2f} s, not {seconds:g} s"
            yield f"cancel {_id(given.event)}: its outcome came after {took}"
    if not record.outcomes:
        yield "no outcome came"


def at_full_speed(record: Record, *, factor: float) -> Iterator[str]:
    """The cancels taken at the mark `all` arrive within `factor` times the minimum time.

    The minimum follows from the exchange's rate limit.
    """
    first = record.marks["all"]
    ids = {id for id, taken in record.taken.items() if taken.at == first}
    arrived = [cancel.at for cancel in record.received() if cancel.id in ids]
    least = (len(ids) - _LIMIT) / _LIMIT
    if len(arrived) < len(ids):
        yield f"{len(arrived)} of {len(ids)} arrived"
    elif arrived[-1] - first > factor * least:
        yield f"the last arrived after {arrived[-1] - first:.2f} s, the minimum is {least:.2f} s"


def urgent_first(record: Record) -> Iterator[str]:
    """The cancel taken at the mark `urgent` is the next one that arrives."""
    taken = record.marks["urgent"]
    urgent = next(id for id, cancel in record.taken.items() if cancel.at == taken)
    arrived = list(record.received())
    places = [place for place, cancel in enumerate(arrived) if cancel.id == urgent]
    if not places:
        yield "the urgent cancel did not arrive"
        return
    before = [
        cancel
        for cancel in arrived[: places[0]]
        if cancel.at > taken + record.marks["latency"] + _TINY
    ]
    if before:
        yield f"{len(before)} cancels were sent before the urgent one"
    if not arrived[places[0] + 1 :]:
        yield "no cancel was queued behind the urgent one"


def within_limits(record: Record) -> Iterator[str]:
    """No limit is exceeded: ten messages per second and link, and the account's limit of cancels.

    The exchange disconnects no link with 30007.
    """
    links: dict[int, list[float]] = {}
    for frame in record.frames:
        if frame.direction == "received":
            links.setdefault(frame.link, []).append(frame.at)
    if not links:
        yield "nothing arrived"
    for link, times in links.items():
        for first, last in zip(times, times[_LIMIT:], strict=False):
            if last - first < _WINDOW:
                yield f"link {link}: {_LIMIT + 1} messages in {last - first:.3f} s at {first:.2f} s"
                break
    for frame in record.sent_frames('"code":30007'):
        yield f"link {frame.link} was disconnected with 30007 at {frame.at:.2f} s"
    over = [act.id for act in record.acts if act.code == "429" and act.id in record.taken]
    if over:
        yield f"{len(over)} cancels were over the account's limit: {_few(over)}"


def one_second_between_cancels(record: Record) -> Iterator[str]:
    """No order is cancelled twice within a second, which the exchange answers with 45129."""
    for act in record.acts:
        if act.code == "45129":
            yield f"cancel {act.id} came within a second of the one before, at {act.at:.2f} s"


def pauses_after_30006(record: Record) -> Iterator[str]:
    """The client sends no cancel for a second after "request too many" has reached it."""
    latency = record.marks["latency"]
    warnings = [frame.at for frame in record.sent_frames('"code":30006')]
    if not warnings:
        yield "the exchange never sent 30006"
    arrived = [cancel.at for cancel in record.received()]
    for at in warnings:
        early = [
            when
            for when in arrived
            if at + 2 * latency + _TINY < when < at + 2 * latency + _WINDOW - _TINY
        ]
        if early:
            yield f"after 30006 at {at:.2f} s a cancel arrived at {early[0]:.2f} s"


def all_arrived(record: Record) -> Iterator[str]:
    """Every cancel reached the exchange."""
    arrived = {cancel.id for cancel in record.received()}
    missing = [id for id in record.taken if id not in arrived]
    if missing:
        yield f"{len(missing)} of {len(record.taken)} never arrived: {_few(missing)}"


def refused(record: Record, *, code: str) -> Iterator[str]:
    """The exchange answered some cancels with `code`; exactly these are `Rejected` with it."""
    gave = {act.id for act in record.acts if act.code == code and act.id in record.taken}
    rejected = {
        outcome.id
        for outcome in record.outcomes
        if isinstance(outcome, Rejected) and outcome.code == code
    }
    if not gave:
        yield f"the exchange never answered {code}"
    if gave != rejected:
        counts = f"{len(gave)} cancels were answered with {code}, {len(rejected)} rejected with it"
        yield f"{counts}; different: {_few(sorted(gave ^ rejected))}"


# --- links ---


def back_within(record: Record, *, mark: str, seconds: float) -> Iterator[str]:
    """A login is accepted within `seconds` of the mark, and all later cancels are accepted."""
    moment = record.marks[mark]
    logins = [frame.at for frame in record.sent_frames('"event":"login"') if frame.at > moment]
    if not logins or logins[0] > moment + seconds:
        when = (
            f"the first login was accepted {logins[0] - moment:.1f} s after it"
            if logins
            else "no login was accepted"
        )
        yield f"{mark}: {when}, not within {seconds:g} s"
        return
    yield from _accepted_from(record, logins[0], f"after {mark}")


def served_until(record: Record, *, mark: str) -> Iterator[str]:
    """All cancels taken until one second before the mark are accepted."""
    until = record.marks[mark]
    before = [id for id, taken in record.taken.items() if taken.at < until - 1.0]
    if not before:
        yield f"no cancel was taken before {mark}"
    bad = set(before) - {act.id for act in record.acts if act.cancelled}
    if bad:
        count = f"{len(bad)} of {len(before)}"
        yield f"{count} cancels before {mark} were not acted on: {_few(sorted(bad))}"


def no_link_outcomes(record: Record, *, down: str, seconds: float) -> Iterator[str]:
    """A cancel taken while no link serves ends with NO_LINK, unsent, after `seconds`.

    Checked are those taken after the mark `down` and too early for the next link.
    """
    began = record.marks[down]
    back = next(
        (frame.at for frame in record.sent_frames('"event":"login"') if frame.at > began), None
    )
    if back is None:
        yield "no link came up again"
        return
    ended = {_id(given.event): given for given in record.outcomes_given()}
    arrived = {cancel.id for cancel in record.received()}
    waiting = {
        id: taken for id, taken in record.taken.items() if began <= taken.at < back - seconds - 1.0
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


def dead_link_detected(record: Record, *, mark: str, seconds: float) -> Iterator[str]:
    """Another link sends its first frame within `seconds` of the first cancel on the dead link."""
    died = record.marks[mark]
    asked = min((taken.at for taken in record.taken.values() if taken.at > died), default=None)
    dead = max((frame.link for frame in record.frames if frame.at <= died), default=0)
    later = [
        frame.at for frame in record.frames if frame.direction == "received" and frame.link > dead
    ]
    if asked is None or not later:
        yield "no other link came up"
    elif later[0] > asked + seconds:
        yield f"another link came up after {later[0] - asked:.2f} s, not {seconds:g} s"


def dead_link_delivers_nothing(record: Record, *, mark: str) -> Iterator[str]:
    """The frames held by the dead link are never delivered, although its route comes back."""
    died = record.marks[mark]
    dead = max((frame.link for frame in record.frames if frame.at <= died), default=0)
    late = [
        frame
        for frame in record.frames
        if frame.direction == "received" and frame.link == dead and frame.at > died
    ]
    if not dead:
        yield "there was no link that could die"
    if late:
        count = f"{len(late)} frames of link {dead}"
        yield f"{count} arrived after it had died, the first at {late[0].at:.2f} s"


def one_link(record: Record) -> Iterator[str]:
    """The first link is the only one; it was never regarded as dead."""
    if (links := {frame.link for frame in record.frames}) != {1}:
        yield f"links {sorted(links)} were used, expected only link 1"
    if len(record.dials) > 1:
        yield f"{len(record.dials)} dials"


def refusals_reported(record: Record, *, code: str) -> Iterator[str]:
    """There is an event for each login that the exchange refused with `code`."""
    refused = sum(1 for _ in record.sent_frames(f'"code":{code}'))
    kinds = (LoginRejected, ExchangeError)
    events = [
        given.event
        for given in record.given
        if isinstance(given.event, kinds) and given.event.code == code
    ]
    if not refused:
        yield f"the exchange refused no login with {code}"
    if refused != len(events):
        yield f"{refused} logins were refused with {code}, but there are {len(events)} events"


def still_running(record: Record) -> Iterator[str]:
    """The session has not ended."""
    for at in record.when(Ended):
        yield f"the session ended at {at:.1f} s"


def ended_with(record: Record, *, why: WhyEnded, mark: str, seconds: float) -> Iterator[str]:
    """The session ends once, with reason `why` within `seconds` of the mark, and stops dialling."""
    moment = record.marks[mark]
    ends = [(given.at, given.event) for given in record.given if isinstance(given.event, Ended)]
    if [end.why for _, end in ends] != [why]:
        yield f"it ended {[end.why.value for _, end in ends]}, not with {why.value!r}"
        return
    at = ends[0][0]
    if not moment <= at <= moment + seconds:
        yield f"it ended {at - moment:.2f} s after {mark}, not within {seconds:g} s"
    if any(dial > at for dial in record.dials):
        yield "it dialled after its end"


def dials(record: Record, *, most: int) -> Iterator[str]:
    """There are at least one dial and at most `most`."""
    if not 1 <= len(record.dials) <= most:
        yield f"{len(record.dials)} dials, not 1 to {most}"


def retry_after_respected(record: Record, *, seconds: float) -> Iterator[str]:
    """After each refused dial the next one comes no earlier than `Retry-After` requires."""
    if len(record.dials) < 2:
        yield f"{len(record.dials)} dials: there was no second dial"
    for first, then in pairwise(record.dials[: int(record.marks["refused"]) + 1]):
        if then - first < seconds - _TINY:
            yield f"dialled again after {then - first:.2f} s, not {seconds:g} s"


# --- old frames, interruptions, writers ---


def no_old_cancels(record: Record, *, mark: str) -> Iterator[str]:
    """No cancel that was taken before the mark arrives after it."""
    moment = record.marks[mark]
    old = [id for id, taken in record.taken.items() if taken.at < moment]
    late = [cancel for cancel in record.received() if cancel.id in old and cancel.at > moment]
    if not old:
        yield f"no cancel was taken before {mark}"
    if late:
        yield f"{len(late)} old cancels arrived after {mark}: {_few([one.id for one in late])}"


def resolved_by(record: Record, *, mark: str, within: float) -> Iterator[str]:
    """Cancels taken before the mark have their outcomes within `within` seconds of it."""
    moment = record.marks[mark]
    ended = {_id(given.event): given.at for given in record.outcomes_given()}
    for id, taken in record.taken.items():
        if taken.at < moment and ended.get(id, moment + within + 1) > moment + within + _TINY:
            yield f"cancel {id}: no outcome within {within:g} s of {mark}"


def arrived_before(record: Record, *, mark: str, count: int) -> Iterator[str]:
    """Exactly `count` cancels have arrived by the mark."""
    moment = record.marks[mark]
    arrived = [cancel.id for cancel in record.received() if cancel.at <= moment]
    if len(arrived) != count:
        yield f"{len(arrived)} arrived before {mark}, not {count}"


def went_by_rest(record: Record, *, least: int) -> Iterator[str]:
    """At least `least` cancels went by REST, of which none arrived on a link."""
    ways = [outcome.id for outcome in record.outcomes if outcome.by_rest]
    if len(ways) < least:
        yield f"{len(ways)} cancels went by REST, not {least}"
    both = {cancel.id for cancel in record.received()}.intersection(ways)
    if both:
        yield f"{len(both)} cancels went by REST and on a link: {_few(sorted(both))}"


def reported_unsent(record: Record, *, least: int) -> Iterator[str]:
    """At least `least` of the cancels that never arrived are `Unresolved` with `sent=False`."""
    arrived = {cancel.id for cancel in record.received()}
    known = [
        o.id
        for o in record.outcomes
        if isinstance(o, Unresolved) and not o.sent and o.id not in arrived
    ]
    if len(known) < least:
        yield f"{len(known)} are reported as unsent, not {least}"


def interrupted(record: Record, *, least: float) -> Iterator[str]:
    """At least this fraction of the runs was interrupted and every run ended.

    The library raised no exception of its own.
    """
    runs, interrupted, ended = (
        record.marks["runs"],
        record.marks["interrupted"],
        len(record.when(Closed)) + len(record.when(Ended)),
    )
    if interrupted < least * runs:
        yield f"{interrupted:.0f} of {runs:.0f} runs were interrupted"
    if ended != runs:
        yield f"{ended} of {runs:.0f} runs ended"
    for error in record.raised:
        yield f"the library raised {error}"


def no_exception_swallowed(record: Record) -> Iterator[str]:
    """What a signal handler raises in a call of the library reaches the caller."""
    if swallowed := record.marks["swallowed"]:
        yield f"{swallowed:.0f} of {record.marks['interrupted']:.0f} exceptions were swallowed"


def answers_match(record: Record) -> Iterator[str]:
    """Each answered cancel has the code of the exchange's answer to it, not to a placement."""
    placed = sum(1 for _ in record.sent_frames('"place-order"'))
    if placed < 2:
        yield "no placement was answered"
    codes: dict[str, set[str]] = {}
    for act in record.acts:
        codes.setdefault(act.id, set()).add(act.code)
    for outcome in record.outcomes:
        if (code := _code(outcome)) is not None and code not in codes.get(outcome.id, set()):
            yield f"cancel {outcome.id}: {code} was not the exchange's answer to it"
    if not any(_code(outcome) is not None for outcome in record.outcomes):
        yield "no cancel was answered"


# --- helpers ---


def _accepted_from(record: Record, moment: float, when: str) -> Iterator[str]:
    later = {id: taken for id, taken in record.taken.items() if taken.at > moment}
    bad = set(later) - {act.id for act in record.acts if act.cancelled}
    if not later:
        yield f"no cancel was taken {when}"
    if bad:
        count = f"{len(bad)} of {len(later)}"
        yield f"{count} cancels {when} were not acted on: {_few(sorted(bad))}"


def _code(outcome: Outcome) -> str | None:
    if isinstance(outcome, Accepted):
        return "0"
    return outcome.code


def _id(event: object) -> str:
    return event.id if isinstance(event, Accepted | Rejected | Unresolved) else ""


def _few(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
