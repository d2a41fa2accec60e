"""Each scenario passes, and each judge detects planted faults.

Faults are planted in the record of a scenario and in the library.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import pytest
from tests.chaos.days.__main__ import SCENARIOS, SEED, main
from tests.chaos.days.day import Given, Record, judge_name

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
from bitget_proto._machine import links as links_module
from bitget_proto._machine import session as session_module
from bitget_proto._machine.backoff import Redial
from bitget_proto._machine.outcomes import Outcomes
from bitget_proto._machine.session_queue import SessionQueue
from bitget_proto.testing import SeenFrame
from bitget_proto.testing._virtual.network import Wire


@functools.cache
def recorded(name: str) -> Record:
    return SCENARIOS[name].run(SEED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_its_expected_result(name: str) -> None:
    assert SCENARIOS[name].faults(recorded(name)) == []


# --- false records ---

Falsify: TypeAlias = Callable[[Record], object]


def first_outcome(record: Record, kind: type[Outcome] = Accepted) -> int:
    """Return the index of the first outcome of this kind."""
    return next(place for place, given in enumerate(record.given) if isinstance(given.event, kind))


def change(record: Record, place: int, **changes: Any) -> None:
    event: Any = record.given[place].event
    record.given[place] = attrs.evolve(record.given[place], event=attrs.evolve(event, **changes))


def unresolved(outcome: Any, why: WhyUnresolved, *, sent: bool) -> Unresolved:
    return Unresolved(
        id=outcome.id, order=outcome.order, taken_at=outcome.taken_at, sent_at=outcome.sent_at if sent else None,
        resolved_at=outcome.resolved_at, sent=sent, why=why,
    )  # fmt: skip


def arrive(record: Record, id: str, at: float, link: int = 1) -> None:
    """Add a cancel that arrived at the exchange."""
    text = encode_cancel(record.taken[id].order, id)
    record.frames.append(SeenFrame(at=at, link=link, direction="received", text=text))
    record.frames.sort(key=lambda frame: frame.at)


def send(record: Record, text: str, at: float) -> None:
    record.frames.append(SeenFrame(at=at, link=1, direction="sent", text=text))


def lose_an_outcome(record: Record) -> None:
    del record.given[first_outcome(record)]


def double_an_outcome(record: Record) -> None:
    record.given.append(record.given[first_outcome(record)])


def invent_an_outcome(record: Record) -> None:
    place = first_outcome(record)
    record.given.append(record.given[place])
    change(record, place, id="unknown")


def report_as_unsent(record: Record) -> None:
    place = first_outcome(record)
    outcome = record.given[place].event
    record.given[place] = attrs.evolve(
        record.given[place], event=unresolved(outcome, WhyUnresolved.TIMEOUT, sent=False)
    )


def receive_twice(record: Record) -> None:
    event: Any = record.given[first_outcome(record)].event
    arrive(record, event.id, record.frames[-1].at)


def undo_the_act(record: Record) -> None:
    place = next(place for place, act in enumerate(record.acts) if act.cancelled)
    record.acts[place] = attrs.evolve(record.acts[place], cancelled=False)


def undo_the_last_act(record: Record) -> None:
    place = max(place for place, act in enumerate(record.acts) if act.cancelled)
    record.acts[place] = attrs.evolve(record.acts[place], cancelled=False)


def forget_the_cancels(record: Record) -> None:
    record.taken.clear()


def leave_an_order_live(record: Record) -> None:
    record.live.add("1")


def delay_an_outcome(record: Record) -> None:
    place = first_outcome(record)
    record.given[place] = attrs.evolve(record.given[place], at=record.given[place].at + 200.0)


def delay_an_unresolved_outcome(record: Record) -> None:
    place = first_outcome(record, Unresolved)
    record.given[place] = attrs.evolve(record.given[place], at=record.given[place].at + 1.0)


def delay_the_last_cancel(record: Record) -> None:
    place = max(place for place, frame in enumerate(record.frames) if "cancel-order" in frame.text)
    place = max(
        place for place in range(place + 1)
        if record.frames[place].direction == "received" and "cancel-order" in record.frames[place].text
    )  # fmt: skip
    record.frames[place] = attrs.evolve(record.frames[place], at=record.frames[place].at + 3.0)


def send_before_the_urgent_one(record: Record) -> None:
    urgent = next(
        cancel
        for cancel in record.received()
        if record.taken[cancel.id].at == record.marks["urgent"]
    )
    arrive(record, next(iter(record.taken)), urgent.at - 1e-3)


def exceed_the_rate(record: Record) -> None:
    at = record.frames[-1].at + 100.0
    record.frames.extend(
        SeenFrame(at=at + n / 11, link=1, direction="received", text="ping") for n in range(11)
    )


def disconnect_with_30007(record: Record) -> None:
    send(record, '{"event":"error","code":30007,"msg":"request too many"}', 1.0)


def answer(record: Record, code: str) -> None:
    place = next(place for place, act in enumerate(record.acts) if act.id in record.taken)
    record.acts[place] = attrs.evolve(record.acts[place], code=code)


def send_during_the_pause(record: Record) -> None:
    warning = next(record.sent_frames('"code":30006'))
    arrive(record, next(iter(record.taken)), warning.at + 0.5)


def lose_a_cancel(record: Record) -> None:
    id = next(iter(record.taken))
    record.frames = [frame for frame in record.frames if f'"id":"{id}"' not in frame.text]


def accept_no_login(record: Record) -> None:
    record.frames = [frame for frame in record.frames if '"event":"login"' not in frame.text]


def report_another_reason(record: Record) -> None:
    place = next(
        place for place, given in enumerate(record.given)
        if isinstance(given.event, Unresolved) and given.event.why is WhyUnresolved.NO_LINK
    )  # fmt: skip
    change(record, place, why=WhyUnresolved.TIMEOUT)


def delay_the_next_link(record: Record) -> None:
    record.frames = [
        attrs.evolve(frame, at=frame.at + 3.0 * (frame.link > 1 and frame.direction == "received"))
        for frame in record.frames
    ]


def deliver_on_the_dead_link(record: Record) -> None:
    arrive(record, next(iter(record.taken)), record.marks["the route died"] + 20.0)


def use_another_link(record: Record) -> None:
    arrive(record, next(iter(record.taken)), record.frames[-1].at, link=2)


def hide_the_refusals(record: Record) -> None:
    record.given = [given for given in record.given if not isinstance(given.event, LoginRejected)]


def end_the_session(record: Record) -> None:
    record.given.append(
        Given(record.frames[-1].at, Ended(why=WhyEnded.REFUSED, detail="", code="30005"))
    )


def remove_the_end(record: Record) -> None:
    record.given = [given for given in record.given if not isinstance(given.event, Ended)]


def add_dials(record: Record) -> None:
    record.dials.extend([record.dials[-1] + 1.0] * 100)


def dial_too_soon(record: Record) -> None:
    record.dials[1] = record.dials[0] + 1.0


def send_an_old_cancel(record: Record) -> None:
    arrive(record, list(record.taken)[20], record.marks["waking"] + 1.0)


def send_while_asleep(record: Record) -> None:
    arrive(record, list(record.taken)[20], record.marks["waking"] - 1.0)


def report_all_as_sent(record: Record) -> None:
    for place, given in enumerate(record.given):
        if isinstance(given.event, Unresolved):
            change(record, place, sent=True)


def interrupt_nothing(record: Record) -> None:
    record.marks["interrupted"] = 0


def lose_an_end(record: Record) -> None:
    record.marks["runs"] += 1


def swallow_an_exception(record: Record) -> None:
    record.marks["swallowed"] = 1


def change_the_code(record: Record) -> None:
    change(record, first_outcome(record, Rejected), code="40786")


def forget_rest(record: Record) -> None:
    for place, given in enumerate(record.given):
        if isinstance(given.event, Accepted):
            change(record, place, by_rest=())


def use_both_ways(record: Record) -> None:
    id = next(outcome.id for outcome in record.outcomes if outcome.by_rest)
    arrive(record, id, record.frames[-1].at)


FALSE_RECORDS: list[tuple[str, str, Falsify]] = [
    *(
        ("refused-30005", "honest", falsify)
        for falsify in (
            lose_an_outcome, double_an_outcome, invent_an_outcome, report_as_unsent, receive_twice, undo_the_act,
            forget_the_cancels,
        )
    ),
    ("signals-session", "honest", lose_an_outcome),
    ("signals-blocking", "honest", double_an_outcome),
    ("stops-reading", "honest", report_as_unsent),
    ("refused-30005", "all_accepted", undo_the_act),
    ("refused-30005", "all_accepted", lose_an_outcome),
    ("half-open-resend", "all_cancelled", leave_an_order_live),
    ("drops-report", "outcomes_in_time", delay_an_outcome),
    ("thousand-session", "at_full_speed", delay_the_last_cancel),
    ("thousand-connection", "at_full_speed", lose_a_cancel),
    ("thousand-session", "urgent_first", send_before_the_urgent_one),
    ("jitter", "within_limits", exceed_the_rate),
    ("jitter", "within_limits", disconnect_with_30007),
    ("shared-budget", "within_limits", functools.partial(answer, code="429")),
    ("half-open-resend", "one_second_between_cancels", functools.partial(answer, code="45129")),
    ("unknown-rest", "pauses_after_30006", send_during_the_pause),
    ("unknown-rest", "all_arrived", lose_a_cancel),
    ("unknown-rest", "refused", functools.partial(answer, code="45129")),
    ("maintenance", "back_within", accept_no_login),
    ("rotation-40018", "back_within", undo_the_last_act),
    ("rotation-refused", "served_until", undo_the_act),
    ("maintenance", "no_link_outcomes", report_another_reason),
    ("maintenance-rest", "went_by_rest", forget_rest),
    ("maintenance-rest", "went_by_rest", use_both_ways),
    ("half-open-report", "dead_link_detected", delay_the_next_link),
    ("half-open-report", "dead_link_delivers_nothing", deliver_on_the_dead_link),
    ("busy", "one_link", use_another_link),
    ("refused-30005", "refusals_reported", hide_the_refusals),
    ("refused-30005", "still_running", end_the_session),
    ("refused-key", "ended_with", remove_the_end),
    ("close-queued", "ended_with", end_the_session),
    ("flapping", "dials", add_dials),
    ("retry-after", "retry_after_respected", dial_too_soon),
    ("retry-after-sockets", "retry_after_respected", dial_too_soon),
    ("sleep-cut-off", "no_old_cancels", send_an_old_cancel),
    ("sleep-cut-off", "resolved_by", delay_an_unresolved_outcome),
    ("sleep-cut-off", "arrived_before", send_while_asleep),
    ("sleep-answered", "reported_unsent", report_all_as_sent),
    ("stalled-writer", "reported_unsent", report_all_as_sent),
    ("signals-connection", "interrupted", interrupt_nothing),
    ("signals-session", "interrupted", lose_an_end),
    ("signals-blocking", "no_exception_swallowed", swallow_an_exception),
    ("ids-connection", "answers_match", change_the_code),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "judge", "falsify"), FALSE_RECORDS)
def test_a_false_record_is_detected(name: str, judge: str, falsify: Falsify) -> None:
    record = copy.deepcopy(recorded(name))
    falsify(record)
    assert any(fault.startswith(f"{judge}: ") for fault in SCENARIOS[name].faults(record))


def test_each_judge_is_tested_with_a_false_record() -> None:
    assert {judge for _, judge, _ in FALSE_RECORDS} == {
        judge_name(judge) for scenario in SCENARIOS.values() for judge in scenario.judges
    }


# --- faults in the library ---

Patch: TypeAlias = pytest.MonkeyPatch


def defaults(patch: Patch, **changes: Any) -> None:
    """Change the default settings of a connection."""

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


def silence_is_ignored(patch: Patch) -> None:
    defaults(patch, silence=None)


def short_silence(patch: Patch) -> None:
    defaults(patch, silence=0.5, silence_pong=1.0)


def slow_pace(patch: Patch) -> None:
    defaults(patch, messages_per_second=9)


def long_no_link_timeout(patch: Patch) -> None:
    @attrs.frozen(kw_only=True)
    class OtherSession(SessionConfig):
        no_link_timeout: float | None = 60.0

    patch.setattr(session_module, "SessionConfig", OtherSession)


def urgent_is_ignored(patch: Patch) -> None:
    take = SessionQueue.take

    def wrapped(*arguments: Any, urgent: bool) -> None:
        take(*arguments, urgent=False)

    patch.setattr(SessionQueue, "take", wrapped)


def all_answers_count(patch: Patch) -> None:
    reply = Outcomes.reply

    def wrapped(self: Outcomes, id: str, frame: Any, message: str | bytes, now: float) -> None:
        reply(self, id, attrs.evolve(frame, not_for_cancel=False), message, now)

    patch.setattr(Outcomes, "reply", wrapped)


def retry_after_is_ignored(patch: Patch) -> None:
    def ignore(_: Redial, __: float, ___: float) -> None:
        """Ignore the exchange's `Retry-After`."""

    patch.setattr(Redial, "retry_after", ignore)


def close_without_abort(patch: Patch) -> None:
    hang_up: Any = Wire[LinkTransmit].hang_up

    def without_abort(self: Wire[LinkTransmit], *, abort: bool) -> None:
        hang_up(self, abort=False)

    patch.setattr(Wire, "hang_up", without_abort)


def interruption_is_ignored(patch: Patch) -> None:
    def go_on(self: Session | Connection) -> None:
        self._in_call = False

    patch.setattr(Session, "_recover", go_on)
    patch.setattr(Connection, "_recover", go_on)


def every_refusal_is_final(patch: Patch) -> None:
    patch.setattr(links_module, "REFUSED_FOR_GOOD", frozenset({"30005", "45001"}))


def no_refusal_is_final(patch: Patch) -> None:
    patch.setattr(links_module, "REFUSED_FOR_GOOD", frozenset[str]())


def no_spacing(patch: Patch) -> None:
    @attrs.frozen(kw_only=True)
    class OtherSession(SessionConfig):
        resend_interval: float | None = None

    patch.setattr(session_module, "SessionConfig", OtherSession)


FAULTS: list[tuple[str, str, Callable[[Patch], None]]] = [
    ("thousand-connection", "all_accepted", short_queue),
    ("thousand-session", "all_accepted", short_queue),
    ("thousand-session", "at_full_speed", slow_pace),
    ("thousand-session", "urgent_first", urgent_is_ignored),
    ("jitter", "within_limits", no_margin),
    ("maintenance", "no_link_outcomes", long_no_link_timeout),
    ("maintenance", "still_running", every_refusal_is_final),
    ("half-open-report", "dead_link_detected", silence_is_ignored),
    ("half-open-resend", "dead_link_delivers_nothing", close_without_abort),
    ("busy", "one_link", short_silence),
    ("refused-30005", "still_running", every_refusal_is_final),
    ("refused-key", "ended_with", no_refusal_is_final),
    ("retry-after", "retry_after_respected", retry_after_is_ignored),
    ("ids-connection", "answers_match", all_answers_count),
    ("ids-session", "honest", all_answers_count),
    ("signals-connection", "honest", interruption_is_ignored),
    ("signals-session", "honest", interruption_is_ignored),
]


@pytest.mark.parametrize(("name", "judge", "fault"), FAULTS)
def test_a_fault_in_the_library_is_detected(
    name: str, judge: str, fault: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    fault(monkeypatch)
    scenario = SCENARIOS[name]
    assert any(message.startswith(f"{judge}: ") for message in scenario.faults(scenario.run(SEED)))


# --- the command ---


def test_the_command_prints_a_scenario_and_its_expected_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["refused-key", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 3;")
    assert re.fullmatch(r"refused-key +5 +0 +0 +0 +5 +0\.\d virtual +passed", lines[2])
    assert lines[3].startswith("    expected: a refused key")
    assert lines[4:] == ["    unresolved: closed 5", "All 1 scenarios passed."]
    assert max(map(len, lines)) <= 100


def test_the_command_fails_when_a_scenario_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    no_refusal_is_final(monkeypatch)
    assert main(["refused-key"]) == 1
    out = capsys.readouterr().out
    assert "FAILED ended_with: it ended" in out
    assert out.endswith("1 of 1 scenarios failed.\n")


def test_the_command_lists_its_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SCENARIOS)
    with pytest.raises(SystemExit) as end:
        main(["monday"])
    assert end.value.code == 2
    assert "got monday" in capsys.readouterr().err
