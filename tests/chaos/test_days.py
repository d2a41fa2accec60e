"""Each bad day is kept, and each judge of it finds a planted lie: in the record of the day, and in the library."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import pytest
from tests.chaos.days.__main__ import ROWS, SEED, main
from tests.chaos.days.day import Day, Given, judge_name

from bitget_proto import (
    Accepted,
    Config,
    Connection,
    Ended,
    LinkTransmit,
    LoginRejected,
    Outcome,
    Rejected,
    Session,
    SessionConfig,
    Unresolved,
    WhyEnded,
    WhyUnresolved,
    encode_cancel,
)
from bitget_proto._machine import connection as connection_module
from bitget_proto._machine import session as session_module
from bitget_proto._machine.backoff import Redial
from bitget_proto.testing import SeenFrame
from bitget_proto.testing._virtual.network import Wire


@functools.cache
def lived(name: str) -> Day:
    return ROWS[name].run(SEED)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_right_result_of_a_bad_day_is_kept(name: str) -> None:
    assert ROWS[name].missed(lived(name)) == []


# --- lies in the record of a day ---

Lie: TypeAlias = Callable[[Day], object]


def first(day: Day, kind: type[Outcome] = Accepted) -> int:
    """The place of the first outcome of this kind."""
    return next(place for place, given in enumerate(day.given) if isinstance(given.event, kind))


def change(day: Day, place: int, **changes: Any) -> None:
    event: Any = day.given[place].event
    day.given[place] = attrs.evolve(day.given[place], event=attrs.evolve(event, **changes))


def unresolved(outcome: Any, why: WhyUnresolved, *, sent: bool) -> Unresolved:
    return Unresolved(
        id=outcome.id, order=outcome.order, taken_at=outcome.taken_at, sent_at=outcome.sent_at if sent else None,
        resolved_at=outcome.resolved_at, sent=sent, why=why,
    )  # fmt: skip


def arrive(day: Day, id: str, at: float, link: int = 1) -> None:
    """Plant a cancel that has arrived."""
    text = encode_cancel(day.taken[id].order, id)
    day.frames.append(SeenFrame(at=at, link=link, direction="received", text=text))
    day.frames.sort(key=lambda frame: frame.at)


def say(day: Day, text: str, at: float) -> None:
    day.frames.append(SeenFrame(at=at, link=1, direction="sent", text=text))


def lose_an_outcome(day: Day) -> None:
    del day.given[first(day)]


def double_an_outcome(day: Day) -> None:
    day.given.append(day.given[first(day)])


def invent_an_outcome(day: Day) -> None:
    place = first(day)
    day.given.append(day.given[place])
    change(day, place, id="unknown")


def call_it_unsent(day: Day) -> None:
    place = first(day)
    outcome = day.given[place].event
    day.given[place] = attrs.evolve(
        day.given[place], event=unresolved(outcome, WhyUnresolved.TIMEOUT, sent=False)
    )


def receive_it_twice(day: Day) -> None:
    event: Any = day.given[first(day)].event
    arrive(day, event.id, day.frames[-1].at)


def undo_the_act(day: Day) -> None:
    place = next(place for place, act in enumerate(day.acts) if act.cancelled)
    day.acts[place] = attrs.evolve(day.acts[place], cancelled=False)


def undo_the_last_act(day: Day) -> None:
    place = max(place for place, act in enumerate(day.acts) if act.cancelled)
    day.acts[place] = attrs.evolve(day.acts[place], cancelled=False)


def take_nothing(day: Day) -> None:
    day.taken.clear()


def leave_it_live(day: Day) -> None:
    day.live.add("1")


def tell_it_late(day: Day) -> None:
    place = first(day)
    day.given[place] = attrs.evolve(day.given[place], at=day.given[place].at + 200.0)


def settle_it_late(day: Day) -> None:
    place = first(day, Unresolved)
    day.given[place] = attrs.evolve(day.given[place], at=day.given[place].at + 1.0)


def slow_the_last(day: Day) -> None:
    place = max(place for place, frame in enumerate(day.frames) if "cancel-order" in frame.text)
    place = max(
        place for place in range(place + 1)
        if day.frames[place].direction == "received" and "cancel-order" in day.frames[place].text
    )  # fmt: skip
    day.frames[place] = attrs.evolve(day.frames[place], at=day.frames[place].at + 3.0)


def jump_the_queue(day: Day) -> None:
    urgent = next(
        cancel for cancel in day.received() if day.taken[cancel.id].at == day.marks["urgent"]
    )
    arrive(day, next(iter(day.taken)), urgent.at - 1e-3)


def crowd_a_second(day: Day) -> None:
    at = day.frames[-1].at + 100.0
    day.frames.extend(
        SeenFrame(at=at + n / 11, link=1, direction="received", text="ping") for n in range(11)
    )


def throw_it_out(day: Day) -> None:
    say(day, '{"event":"error","code":30007,"msg":"request too many"}', 1.0)


def answer(day: Day, code: str) -> None:
    place = next(place for place, act in enumerate(day.acts) if act.id in day.taken)
    day.acts[place] = attrs.evolve(day.acts[place], code=code)


def go_on_after_the_warning(day: Day) -> None:
    warning = next(day.said('"code":30006'))
    arrive(day, next(iter(day.taken)), warning.at + 0.5)


def never_arrive(day: Day) -> None:
    id = next(iter(day.taken))
    day.frames = [frame for frame in day.frames if f'"id":"{id}"' not in frame.text]


def stay_away(day: Day) -> None:
    day.frames = [frame for frame in day.frames if '"event":"login"' not in frame.text]


def refuse_for_want_of_a_link(day: Day) -> None:
    place = next(
        place for place, given in enumerate(day.given)
        if isinstance(given.event, Unresolved) and given.event.why is WhyUnresolved.NO_LINK
    )  # fmt: skip
    change(day, place, why=WhyUnresolved.TIMEOUT)


def find_out_late(day: Day) -> None:
    day.frames = [
        attrs.evolve(frame, at=frame.at + 3.0 * (frame.link > 1 and frame.direction == "received"))
        for frame in day.frames
    ]


def deliver_from_the_dead(day: Day) -> None:
    arrive(day, next(iter(day.taken)), day.marks["the route died"] + 20.0)


def use_another_link(day: Day) -> None:
    arrive(day, next(iter(day.taken)), day.frames[-1].at, link=2)


def hide_the_refusals(day: Day) -> None:
    day.given = [given for given in day.given if not isinstance(given.event, LoginRejected)]


def end(day: Day) -> None:
    day.given.append(Given(day.frames[-1].at, Ended(why=WhyEnded.REFUSED, detail="", code="30005")))


def never_end(day: Day) -> None:
    day.given = [given for given in day.given if not isinstance(given.event, Ended)]


def dial_again_and_again(day: Day) -> None:
    day.dials.extend([day.dials[-1] + 1.0] * 100)


def dial_too_soon(day: Day) -> None:
    day.dials[1] = day.dials[0] + 1.0


def send_what_is_old(day: Day) -> None:
    arrive(day, list(day.taken)[20], day.marks["waking"] + 1.0)


def send_it_in_the_sleep(day: Day) -> None:
    arrive(day, list(day.taken)[20], day.marks["waking"] - 1.0)


def call_all_sent(day: Day) -> None:
    for place, given in enumerate(day.given):
        if isinstance(given.event, Unresolved):
            change(day, place, sent=True)


def strike_nothing(day: Day) -> None:
    day.marks["struck"] = 0


def lose_an_end(day: Day) -> None:
    day.marks["lives"] += 1


def swallow(day: Day) -> None:
    day.marks["swallowed"] = 1


def take_another_answer(day: Day) -> None:
    change(day, first(day, Rejected), code="40786")


LIES: list[tuple[str, str, Lie]] = [
    *(
        ("refused-30005", "honest", lie)
        for lie in (
            lose_an_outcome, double_an_outcome, invent_an_outcome, call_it_unsent, receive_it_twice, undo_the_act,
            take_nothing,
        )
    ),
    ("signals-session", "honest", lose_an_outcome),
    ("signals-blocking", "honest", double_an_outcome),
    ("deaf", "honest", call_it_unsent),
    ("refused-30005", "all_accepted", undo_the_act),
    ("refused-30005", "all_accepted", lose_an_outcome),
    ("half-open-resend", "all_cancelled", leave_it_live),
    ("drops-report", "none_too_late", tell_it_late),
    ("thousand-session", "at_full_speed", slow_the_last),
    ("thousand-connection", "at_full_speed", never_arrive),
    ("thousand-session", "urgent_next", jump_the_queue),
    ("jitter", "in_the_limits", crowd_a_second),
    ("jitter", "in_the_limits", throw_it_out),
    ("shared-budget", "in_the_limits", functools.partial(answer, code="429")),
    ("half-open-resend", "spaced", functools.partial(answer, code="45129")),
    ("unknown-rest", "pauses", go_on_after_the_warning),
    ("unknown-rest", "none_unsent", never_arrive),
    ("unknown-rest", "refused", functools.partial(answer, code="45129")),
    ("maintenance", "back_within", stay_away),
    ("rotation-40018", "back_within", undo_the_last_act),
    ("rotation-refused", "served_until", undo_the_act),
    ("maintenance", "unsent_for_want_of_a_link", refuse_for_want_of_a_link),
    ("half-open-report", "found_out", find_out_late),
    ("half-open-report", "nothing_from_the_dead", deliver_from_the_dead),
    ("busy", "one_link", use_another_link),
    ("refused-30005", "informed", hide_the_refusals),
    ("refused-30005", "not_over", end),
    ("refused-key", "over_because", never_end),
    ("close-queued", "over_because", end),
    ("flapping", "dials", dial_again_and_again),
    ("retry-after", "waits_as_asked", dial_too_soon),
    ("retry-after-sockets", "waits_as_asked", dial_too_soon),
    ("sleep-cut-off", "nothing_old", send_what_is_old),
    ("sleep-cut-off", "settled_by", settle_it_late),
    ("sleep-cut-off", "arrived_before", send_it_in_the_sleep),
    ("sleep-answered", "known_unsent", call_all_sent),
    ("stalled-writer", "known_unsent", call_all_sent),
    ("signals-connection", "interrupted", strike_nothing),
    ("signals-session", "interrupted", lose_an_end),
    ("signals-blocking", "none_swallowed", swallow),
    ("ids-connection", "no_answer_for_another", take_another_answer),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "judge", "lie"), LIES)
def test_a_lie_that_is_planted_in_a_record_is_found(name: str, judge: str, lie: Lie) -> None:
    day = copy.deepcopy(lived(name))
    lie(day)
    assert any(fault.startswith(f"{judge}: ") for fault in ROWS[name].missed(day))


def test_each_judge_has_a_lie_to_find() -> None:
    assert {judge for _, judge, _ in LIES} == {
        judge_name(judge) for row in ROWS.values() for judge in row.judges
    }


# --- faults in the library ---

Patch: TypeAlias = pytest.MonkeyPatch


def defaults(patch: Patch, **changes: Any) -> None:
    """Let the defaults of a connection be others."""

    class Other(Config):
        def __init__(self) -> None:
            super().__init__(**changes)

    @attrs.frozen(kw_only=True)
    class OtherSession(SessionConfig):
        link: Config = attrs.field(factory=Other)

    patch.setattr(connection_module, "Config", Other)
    patch.setattr(session_module, "SessionConfig", OtherSession)


def short_queue(patch: Patch) -> None:
    defaults(patch, queue_timeout=10.0)


def no_margin(patch: Patch) -> None:
    defaults(patch, pace_margin=None)


def deaf_to_silence(patch: Patch) -> None:
    defaults(patch, silence=None)


def impatient(patch: Patch) -> None:
    defaults(patch, silence=0.5, silence_pong=1.0)


def a_slow_pace(patch: Patch) -> None:
    defaults(patch, messages_per_second=9)


def patient_without_a_link(patch: Patch) -> None:
    @attrs.frozen(kw_only=True)
    class OtherSession(SessionConfig):
        no_link_timeout: float | None = 60.0

    patch.setattr(session_module, "SessionConfig", OtherSession)


def urgent_is_nothing(patch: Patch) -> None:
    take = Session._take

    def wrapped(*arguments: Any, urgent: bool) -> None:
        take(*arguments, urgent=False)

    patch.setattr(Session, "_take", wrapped)


def any_answer_counts(patch: Patch) -> None:
    reply = Connection._reply

    def wrapped(self: Connection, id: str, frame: Any, message: str | bytes) -> None:
        reply(self, id, attrs.evolve(frame, answers_other=False), message)

    patch.setattr(Connection, "_reply", wrapped)


def dial_as_ever(patch: Patch) -> None:
    def ignore(_: Redial, __: float, ___: float) -> None:
        """Do as if the exchange had asked for nothing."""

    patch.setattr(Redial, "retry_after", ignore)


def close_in_good_order(patch: Patch) -> None:
    hang_up: Any = Wire[LinkTransmit].hang_up

    def politely(self: Wire[LinkTransmit], *, abort: bool) -> None:
        hang_up(self, abort=False)

    patch.setattr(Wire, "hang_up", politely)


def forget_the_interruption(patch: Patch) -> None:
    def go_on(self: Session | Connection) -> None:
        self._inside = False

    patch.setattr(Session, "_recover", go_on)
    patch.setattr(Connection, "_recover", go_on)


def every_refusal_is_for_good(patch: Patch) -> None:
    patch.setattr(session_module, "REFUSED_FOR_GOOD", frozenset({"30005", "45001"}))


def no_refusal_is_for_good(patch: Patch) -> None:
    patch.setattr(session_module, "REFUSED_FOR_GOOD", frozenset[str]())


def no_spacing(patch: Patch) -> None:
    @attrs.frozen(kw_only=True)
    class OtherSession(SessionConfig):
        resend_interval: float | None = None

    patch.setattr(session_module, "SessionConfig", OtherSession)


FAULTS: list[tuple[str, str, Callable[[Patch], None]]] = [
    ("thousand-connection", "all_accepted", short_queue),
    ("thousand-session", "all_accepted", short_queue),
    ("thousand-session", "at_full_speed", a_slow_pace),
    ("thousand-session", "urgent_next", urgent_is_nothing),
    ("jitter", "in_the_limits", no_margin),
    ("maintenance", "unsent_for_want_of_a_link", patient_without_a_link),
    ("maintenance", "not_over", every_refusal_is_for_good),
    ("half-open-report", "found_out", deaf_to_silence),
    ("half-open-resend", "nothing_from_the_dead", close_in_good_order),
    ("busy", "one_link", impatient),
    ("refused-30005", "not_over", every_refusal_is_for_good),
    ("refused-key", "over_because", no_refusal_is_for_good),
    ("retry-after", "waits_as_asked", dial_as_ever),
    ("ids-connection", "no_answer_for_another", any_answer_counts),
    ("ids-session", "honest", any_answer_counts),
    ("signals-connection", "honest", forget_the_interruption),
    ("signals-session", "honest", forget_the_interruption),
]


@pytest.mark.parametrize(("name", "judge", "fault"), FAULTS)
def test_a_fault_that_is_planted_in_the_library_is_found(
    name: str, judge: str, fault: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    fault(monkeypatch)
    row = ROWS[name]
    assert any(missed.startswith(f"{judge}: ") for missed in row.missed(row.run(SEED)))


# --- the command ---


def test_the_command_prints_a_row_with_its_right_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refused-key", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 3;")
    assert re.fullmatch(r"refused-key +5 +0 +0 +0 +5 +0\.\d virtual +kept", lines[2])
    assert lines[3].startswith("    right: a key that is refused")
    assert lines[4:] == ["    unresolved: closed 5", "All 1 days were kept."]
    assert max(map(len, lines)) <= 100


def test_the_command_fails_when_a_day_is_missed(
    capsys: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    no_refusal_is_for_good(monkeypatch)
    assert main(["refused-key"]) == 1
    out = capsys.readouterr().out
    assert "MISSED over_because: it ended" in out
    assert out.endswith("1 of 1 days were missed.\n")


def test_the_command_names_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ROWS)
    with pytest.raises(SystemExit) as end:
        main(["monday"])
    assert end.value.code == 2
    assert "got monday" in capsys.readouterr().err
