"""Replays the committed traces of tests/traces with every engine.

Run as a script to regenerate them; unchanged traces are left alone. Read the diff before you commit
it: every changed line is a change of behaviour.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from bitget_proto import (
    Budget,
    CancelOrder,
    Codec,
    CodeClass,
    Config,
    Connection,
    Credentials,
    Dialect,
    Engine,
    LocalProtocolError,
    Policy,
    Session,
    SessionConfig,
    Trace,
    Wait,
    record,
    replay,
    sign_login,
)
from bitget_proto._machine import connection as connection_module
from bitget_proto._machine import in_flight as in_flight_module
from bitget_proto._machine import links as links_module
from bitget_proto._machine import session as session_module
from bitget_proto._machine.backoff import Redial
from bitget_proto._machine.cancel_queue import Rank
from bitget_proto._machine.frame_queue import FrameQueue
from bitget_proto._machine.heartbeat import Heartbeat
from bitget_proto._machine.in_flight import InFlight, OpenCancel
from bitget_proto._machine.links import Links
from bitget_proto._machine.outcomes import Outcomes
from bitget_proto._machine.request_ids import RequestIds
from bitget_proto._machine.session_queue import SessionQueue
from bitget_proto._trace import replay as replay_module
from bitget_proto.testing import (
    ExchangeConfig,
    Fault,
    Pair,
    ScriptedExchange,
    SessionPair,
    encode_event,
    encode_reply,
)

TRACES = Path(__file__).parents[1] / "traces"
KEY = Credentials("the-key-itself", "the-secret-itself", "the-passphrase-itself")
ORDERS = [
    CancelOrder("BTCUSDT", order_id=str(number), client_oid=f"mine-{number}")
    for number in range(1, 31)
]
MINE = CancelOrder("ETHUSDT", client_oid="mine-alone")

Write = Callable[[str], object]


def exchange(batches_per_second: int | None = None, **config: Any) -> ScriptedExchange:
    return ScriptedExchange(
        [*ORDERS, MINE],
        credentials=KEY,
        config=ExchangeConfig(**config),
        batches_per_second=batches_per_second,
    )


def connected(
    write: Write,
    config: Config | None = None,
    budget: Budget | None = None,
    dialect: Dialect = Dialect.CLASSIC,
) -> Pair:
    connection = Connection(config, Codec(dialect=dialect), budget)
    batches = None if budget is None else budget.batches_per_second
    made = exchange(batches, dialect=dialect)
    pair = Pair(record(connection, write), made, latency=0.05)
    pair.open()
    pair.run(0.1)
    return pair


def in_session(
    write: Write,
    *,
    skew: float = 0.0,
    lifetime: float = 86400.0,
    dialect: Dialect = Dialect.CLASSIC,
    **config: Any,
) -> SessionPair:
    numbers = iter([0.5, 0.25, 1.0, 0.0] * 10)
    session = record(
        Session(
            SessionConfig(lifetime=lifetime, **config),
            Codec(dialect=dialect),
            jitter=lambda: next(numbers),
        ),
        write,
    )
    pair = SessionPair(
        session,
        exchange(lifetime=lifetime, dialect=dialect),
        latency=0.05,
        dial_time=0.1,
        skew=skew,
    )
    pair.start()
    pair.run(0.3)
    return pair


# --- the recorded runs ---


def dropped_after_it_left(write: Write) -> None:
    """The connection is lost with one cancel answered, one unanswered, one queued."""
    pair = connected(write, Config(messages_per_second=3))
    pair.exchange.inject(None, Fault.DROP_AFTER)
    for order in ORDERS[:3]:
        pair.cancel(order)
    pair.run(1.0)


def late_reply(write: Write) -> None:
    """A reply comes after the cancel's deadline, and a second copy later."""
    pair = connected(write)
    id = pair.cancel(ORDERS[0], timeout=0.01)
    pair.run(1.0)
    pair.say(encode_reply(ORDERS[0], id))
    pair.run(1.0)
    pair.close()


def going_away(write: Write) -> None:
    """The exchange announces its shutdown: the session moves, the old link drains."""
    pair = in_session(write)
    pair.exchange.inject(Fault.SILENT)
    pair.cancel(ORDERS[0])
    pair.say('{"event":"error","code":30033,"msg":"the server is going away"}')
    for order in ORDERS[1:4]:
        pair.cancel(order)
        pair.run(0.4)
    pair.run(20.0)
    pair.close()
    pair.run_until_ended()


def rotation(write: Write) -> None:
    """A link nears its maximum age, and its successor takes over without a gap."""
    pair = in_session(write, lifetime=200.0, rotate_before=50.0, link=Config(ping_interval=40.0))
    for order in ORDERS[:6]:
        pair.run(45.0)
        pair.cancel(order)
    pair.run(1.0)
    pair.close()
    pair.run_until_ended()


def resent(write: Write) -> None:
    """Cancels whose replies were lost are sent again with Policy.RESEND, and not with REPORT."""
    pair = in_session(write, policy=Policy.RESEND)
    pair.exchange.inject(Fault.SILENT, Fault.SILENT, Fault.DROP_AFTER)
    pair.cancel(MINE)
    pair.cancel(ORDERS[0], policy=Policy.REPORT)
    pair.cancel(ORDERS[1])
    pair.run(5.0)
    pair.close()
    pair.run_until_ended()


def throttled(write: Write) -> None:
    """More cancels than the paces allow, a shared budget, and a throttling exchange."""
    budget = Budget(5)
    pair = connected(write, Config(max_in_flight=20), budget)
    budget.debit(2, pair.clock.now)
    for order in ORDERS[:20]:
        pair.cancel(order)
    with suppress(LocalProtocolError):
        pair.cancel(ORDERS[20])
    pair.run(0.5)
    budget.grant(3, pair.clock.now + 0.5, pair.clock.now)
    pair.run(0.6)
    pair.say('{"event":"error","code":30006,"msg":"request too many"}')
    pair.run(2.0)
    pair.exchange.inject(Fault.THROTTLE)
    budget.pause(pair.clock.now)
    pair.run(10.0)
    pair.close()


def skewed_clock(write: Write) -> None:
    """The first timestamp is refused, the corrected one is accepted."""
    pair = in_session(write, skew=-100.0)
    pair.run(2.0)
    pair.cancel(ORDERS[0])
    pair.run(1.0)
    pair.close()
    pair.run_until_ended()


def wrong_key(write: Write) -> None:
    """The login is refused for good, and the waiting cancels were never sent."""
    numbers = iter([0.5])
    session = record(Session(SessionConfig(), jitter=lambda: next(numbers)), write)
    pair = SessionPair(
        session,
        exchange(),
        credentials=Credentials("the-key-itself", "another secret", "the-passphrase-itself"),
    )
    pair.cancel(ORDERS[0])
    pair.run_until_ended()


def no_pong(write: Write) -> None:
    """The route fails silently while no cancel is open; the heartbeat notices."""
    pair = connected(write)
    pair.run(29.0)
    pair.freeze()
    pair.run_until_closed()


def silent(write: Write) -> None:
    """The route fails silently with a cancel open; the silence is detected, the outcome unknown."""
    pair = connected(write)
    pair.run(1.0)
    pair.freeze()
    pair.cancel(ORDERS[0], timeout=60)
    pair.run_until_closed()


def half_open(write: Write) -> None:
    """As `silent`, in a session: the link is aborted, and the next one sends the cancel again."""
    pair = in_session(write, policy=Policy.RESEND)
    pair.exchange.inject(None)
    pair.run(1.0)
    pair.freeze()
    pair.cancel(ORDERS[0])
    pair.cancel(ORDERS[1], policy=Policy.REPORT)
    pair.run(10.0)
    pair.close()
    pair.run_until_ended()


def at_once(write: Write) -> None:
    """Many cancels, an urgent one, a withdrawn one, one withdrawn too late; then a close that
    sends the queue, in which the last cancels expire.
    """
    pair = connected(write, Config(messages_per_second=3, queue_timeout=1.9))
    ids = pair.cancel_many(ORDERS[:9])
    pair.cancel(ORDERS[6], urgent=True)
    for id in (ids[5], ids[0]):
        pair.withdraw(id)
    pair.run(1.0)
    pair.close(queued="send", within=60.0)
    pair.run_until_closed()


def no_link(write: Write) -> None:
    """No link can be opened: cancels wait ten seconds, urgent ones first."""
    numbers = iter([0.5, 0.25, 1.0, 0.0] * 10)
    session = record(Session(SessionConfig(), jitter=lambda: next(numbers)), write)
    pair = SessionPair(session, exchange(), latency=0.05, dial_time=0.1)
    pair.exchange.refuse_handshakes(1, retry_after=12)
    pair.cancel(ORDERS[0])
    pair.run(5.0)
    pair.cancel(ORDERS[1])
    pair.cancel(ORDERS[2], urgent=True)
    withdrawn = pair.cancel_many(ORDERS[3:6], timeout=60)[1]
    pair.withdraw(withdrawn)
    pair.run(20.0)
    pair.close("send")
    pair.run_until_ended()


def maintenance(write: Write) -> None:
    """Logins are refused for minutes with various codes: the session backs off, and recovers."""
    pair = in_session(write)
    pair.exchange.maintenance(pair.clock.now, seconds=120.0, grace=5.0)
    pair.run(200.0)
    pair.cancel(ORDERS[0])
    pair.run(1.0)
    pair.close()
    pair.run_until_ended()


def stalled(write: Write) -> None:
    """The peer stops reading: no byte of one frame was written, so it was not sent."""
    pair = connected(write)
    pair.stall()
    for order in ORDERS[:3]:
        pair.cancel(order)
    pair.run(2.0)
    pair.drop("the peer took nothing")


def closed_while_answers_were_out(write: Write) -> None:
    """One cancel is answered after the close, one never, and one was not sent."""
    pair = connected(write, Config(messages_per_second=3, drain_timeout=2.0))
    pair.exchange.inject(None, Fault.SILENT)
    for order in ORDERS[:3]:
        pair.cancel(order)
    pair.close()
    pair.run_until_closed()


def unsure(write: Write) -> None:
    """Replies that settle no cancel, and replies to unknown requests."""
    pair = connected(write)
    pair.exchange.inject(*[Fault.SILENT] * 4)
    ids = [pair.cancel(order) for order in ORDERS[:4]]
    pair.say(encode_reply(ORDERS[0], ids[0], code=40010, message="Request timed out"))
    pair.say(encode_event("error", 0, "Success", arg=[{"id": ids[1]}]))
    pair.say(encode_event("trade", None, None, arg={"id": ids[2]}))
    pair.say(encode_event("error", 43001, "no order", arg=[{"id": ids[2]}, {"id": ids[3]}]))
    pair.say(encode_reply(ORDERS[3], ids[3], code=45056, message="already filled"))
    pair.say(encode_reply(ORDERS[3], ids[3]))
    pair.say(encode_reply(ORDERS[0], ids[0]))
    pair.say(encode_event("error", 43001, "names nobody"))
    pair.run(11.0)
    pair.close()


def noise(write: Write) -> None:
    """Malformed frames, refused calls, the caller's own frames, a clock that runs backwards."""
    conn = record(
        Connection(Config(max_in_flight=1, max_own_frames=1, max_message=300, max_depth=3)), write
    )

    def drain(now: float, writable: bool = True) -> None:
        while not isinstance(conn.poll(now, writable), Wait):
            pass

    conn.handle_timeout(-5)
    conn.receive("too early", 0)
    drain(0)
    conn.opened(0.0, login=sign_login(KEY, 1_763_958_366))
    refused: list[Callable[[], object]] = [
        lambda: conn.opened(0.0, login=sign_login(KEY, 1_763_958_366)),
        lambda: conn.poll(float("nan")),
        lambda: conn.cancel(ORDERS[0], float("inf")),
        lambda: conn.cancel(ORDERS[0], 0.0, id="no\nid"),
        lambda: conn.cancel(ORDERS[0], 0.0, timeout=-1),
        lambda: conn.send("", 0.0),
    ]
    for call in refused:
        with suppress(LocalProtocolError):
            call()
    drain(0.0, writable=False)
    drain(0.0)
    message: str | bytes
    for message in (
        b"\xff\xfe",
        "\ud800",
        "[" * 60,
        "x" * 301,
        b'{"event":"subscribe"}',
        '{"event":1}',
        "pong",
        "",
        "{}",
    ):
        conn.receive(message, 0.25)
    drain(0.1)
    conn.receive(b'{"event":"login","code":"0"}', 0.5)
    conn.send('{"op":"subscribe","args":[{"channel":"orders"}]}', 0.5)
    for _ in range(2):
        with suppress(LocalProtocolError):
            conn.send('{"op":"x","secret":"another secret"}', 0.5)
    drain(0.5)
    for id in ("mine", "mine", None):
        with suppress(LocalProtocolError):
            conn.cancel(MINE, 1, id, float("inf"))
    drain(1)
    conn.receive(
        b'{"event":"error","arg":[{"id":"mine"}],"code":"043001","msg":"\\ud83d\\ude00 \\ud800","ts":"17"}',
        1.5,
    )
    conn.receive('{"event":"error","code":30007,"msg":"too many"}', 1.5)
    drain(1.5)
    for call in (
        lambda: conn.cancel(MINE, 2.0),
        lambda: conn.send("x", 2.0),
        lambda: conn.close(2.0),
    ):
        with suppress(LocalProtocolError):
            call()
    conn.lost(2.0, "twice")
    drain(2.0)


def two_links_lost(write: Write) -> None:
    """Failed dials, a timed-out dial, a link thrown out: the backoff grows, a cancel waits."""
    pair = in_session(write, dial_timeout=2.0, policy=Policy.RESEND)
    pair.refuse_dials = True
    pair.say('{"event":"error","code":30007,"msg":"request too many"}')
    pair.cancel(ORDERS[0], timeout=30.0)
    pair.cancel(ORDERS[1], timeout=1.0)
    pair.send('{"op":"subscribe","args":[{"channel":"orders"}]}')
    pair.run(2.0)
    pair.refuse_dials, pair.hold_dials = False, True
    pair.run(3.0)
    pair.hold_dials = False
    pair.run(10.0)
    pair.stall()
    pair.cancel(ORDERS[2])
    pair.cancel(ORDERS[3])
    pair.drop()
    pair.run(10.0)
    pair.close()
    pair.close()


def batches(write: Write) -> None:
    """A unified account: whole answers, partial ones, half a one, a late one, and a refusal."""
    budget = Budget(1, batches_per_second=6)
    pair = connected(write, Config(max_batch=4), budget, Dialect.UNIFIED)
    pair.exchange.inject(
        None, Fault.ITEM_MISSING, Fault.REORDERED, Fault.CUT, Fault.LATE, Fault.ITEM_TWICE
    )
    pair.cancel_many([*ORDERS[:20], ORDERS[0], MINE], timeout=8.0)
    pair.run(20.0)
    pair.exchange.inject(Fault.UNSURE)
    pair.cancel_many([CancelOrder(order_id=str(number)) for number in (21, 22, 999)])
    pair.run(1.0)
    pair.cancel_many([CancelOrder(client_oid=f"mine-{number}") for number in (23, 24, 999)])
    pair.run(1.0)
    pair.close()


def batch_stalled(write: Write) -> None:
    """No byte of a batch was written, as one of its ids says, so none of its cancels was sent."""
    pair = connected(write, dialect=Dialect.UNIFIED)
    pair.exchange.inject(Fault.SILENT)
    pair.cancel_many(ORDERS[:3])
    pair.stall()
    stalled = pair.cancel_many(ORDERS[3:6])
    pair.cancel(ORDERS[6])
    pair.client.lost(pair.clock.now, "the peer took nothing", stalled[1:2])
    pair._drain_client()


def batch_resent(write: Write) -> None:
    """A batch whose answer was lost is sent again under Policy.RESEND, but for one of its cancels."""
    pair = in_session(write, dialect=Dialect.UNIFIED, policy=Policy.RESEND)
    pair.exchange.inject(Fault.DROP_BEFORE)
    pair.stall()
    pair.cancel(MINE)
    pair.cancel(ORDERS[0], policy=Policy.REPORT)
    pair.cancel(ORDERS[1])
    pair.cancel_many([CancelOrder(order_id=str(number)) for number in (3, 4, 999)])
    pair.resume()
    pair.run(5.0)
    pair.exchange.inject(Fault.DROP_AFTER)
    pair.cancel_many(ORDERS[10:13])
    pair.run(5.0)
    pair.close()
    pair.run_until_ended()


LIVES = MappingProxyType({
    life.__name__: life
    for life in (
        dropped_after_it_left, late_reply, going_away, rotation, resent, throttled, skewed_clock, wrong_key, no_pong, silent,
        half_open, stalled, closed_while_answers_were_out, at_once, no_link, maintenance, unsure, noise, two_links_lost,
        batches, batch_stalled, batch_resent,
    )
})  # fmt: skip


def lived(name: str) -> list[str]:
    lines: list[str] = []
    LIVES[name](lines.append)
    return lines


def committed(name: str) -> list[str]:
    return (TRACES / f"{name}.jsonl").read_text("ascii").splitlines(keepends=True)


# --- the tests ---


def test_every_trace_is_committed_and_no_others() -> None:
    assert {path.stem for path in TRACES.glob("*.jsonl")} == set(LIVES)


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("name", LIVES)
def test_a_committed_trace_replays_without_a_difference(name: str, engine: Engine) -> None:
    trace = Trace(committed(name))
    difference = replay(trace, engine)
    assert difference is None, str(difference)
    assert trace.torn is None


@pytest.mark.parametrize("name", LIVES)
def test_a_new_recording_equals_the_committed_trace(name: str) -> None:
    assert lived(name)[1:] == committed(name)[1:], (
        "tests/traces differs: run python tests/bitget_proto/test_traces.py"
    )


def test_the_traces_cover_the_events_and_timers() -> None:
    kinds: set[str] = set()
    for name in LIVES:
        for step in Trace(committed(name)):
            gave: Any = step.data.get("gave")
            kinds.add(step.call)
            kinds |= {
                key
                for key in (
                    "raised",
                    "budget",
                    "jitter",
                    "writable",
                    "busy",
                    "unsent",
                    "policy",
                    "urgent",
                    "queued",
                    "within",
                    "retry_after",
                )
                if key in step.data
            }
            if step.call == "poll" and gave:
                kinds.add(gave["kind"])
                kinds |= {f"{gave['kind']} {gave[key]}" for key in ("why", "timer") if key in gave}
    assert {
        "Transmit", "Hangup", "Ready", "Accepted", "Rejected", "LateReply", "ExchangeError", "GoingAway", "Dial",
        "LinkTransmit", "LinkHangup", "LinkClosed", "LoginRejected", "Up", "Down", "Ended asked", "Ended refused",
        "Unresolved timeout", "Unresolved lost", "Unresolved closed", "Unresolved unsure", "Unresolved no link",
        "Unresolved withdrawn", "Closed no pong", "Closed thrown out", "Wait pacing", "Wait dialled", "Wait dial",
        "Wait rotation", "Wait spacing", "Wait silence", "Wait no link", "urgent", "queued", "within", "retry_after",
        "Unrecognised malformed", "Unrecognised unknown id", "raised", "budget", "jitter", "writable", "unsent",
        "policy", "busy", "cancel_many",
    } <= kinds  # fmt: skip


def test_no_secret_is_committed() -> None:
    for name in LIVES:
        text = "".join(committed(name))
        assert not any(
            secret in text for secret in (KEY.api_key, KEY.secret, KEY.passphrase, "another secret")
        )


# --- a core with a bug does not pass ---


Plant = Callable[[pytest.MonkeyPatch], None]


def faulty(kind: type[Connection | Session], **methods: Any) -> Plant:
    """A core with some methods replaced."""
    made = type(f"Faulty{kind.__name__}", (kind,), {"__slots__": (), **methods})

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(replay_module, kind.__name__, made)
        if kind is Connection:
            patch.setattr(session_module, "Connection", made)

    return plant


def changed(module: object, name: str, value: object) -> Plant:
    return lambda patch: patch.setattr(module, name, value)


_hand_out, _in_order = FrameQueue.hand_out, InFlight.in_order
_refused, _take = Links._refused, SessionQueue.take
_enqueue, _settle, _time_out = InFlight.enqueue, Outcomes.settle, Outcomes.time_out


def _pongs_are_not_heard(self: Any, message: Any, now: float) -> None:
    if message not in ("pong", b"pong"):
        Connection.receive(self, message, now)


def _late_replies_are_forgotten(self: Any, cancel: Any, *args: Any) -> None:
    _time_out(self, cancel, *args)
    self._in_flight.late.pop(cancel.id, None)


def _never_sent(self: Any, now: float, reason: str = "", unsent: Any = ()) -> None:
    Connection.lost(self, now, reason, ())


def _sent_is_taken_back(self: Any, now: float, reason: str = "", unsent: Any = ()) -> None:
    Connection.lost(self, now, reason, list(self._in_flight.sent))


def _a_tick_longer(self: Any, cancels: Any, ids: Any, now: float) -> Any:
    frame = _hand_out(self, cancels, ids, now)
    for cancel in cancels:
        cancel.deadline += 2**-40
    return frame


def _outcome_again(self: Any, cancel: Any, outcome: Any) -> None:
    _settle(self, cancel, outcome)
    self._outputs.append(outcome)


def _no_outcome(self: Any, cancel: Any, outcome: Any) -> None:
    _settle(self, cancel, outcome)
    self._outputs.pop()


def _in_another_order(self: Any) -> Any:
    return list(reversed(_in_order(self)))


def _not_urgent(self: Any, id: str, order: Any, now: float, until: float, rank: Any) -> None:
    _enqueue(self, id, order, now, until, Rank.NORMAL)


def _not_urgent_in_a_session(self: Any, *args: Any, urgent: bool, **named: Any) -> None:
    _take(self, *args, urgent=False, **named)


def _withdraws_nothing(self: Any, id: str, now: float) -> bool:
    return False


def _resends_nothing(self: Any, *args: Any, **named: Any) -> str:
    taken = Session.cancel(self, *args, **named)
    self._cancels.open[taken].resend = False
    return taken


def _resends_all(self: Any, *args: Any, **named: Any) -> str:
    taken = Session.cancel(self, *args, **named)
    self._cancels.open[taken].resend = True
    return taken


def _stays(self: Any, link: Any, now: float) -> None:
    pass


def _forgets_the_stamp(self: Any, refusal: Any) -> Any:
    ended = _refused(self, refusal)
    self.stamp_refused = False
    return ended


def _does_not_wait(self: Any, now: float, seconds: float) -> None:
    pass


def _another_id(self: Any) -> str:
    return "another"


def _is_not_asked(self: Any, sent_at: float) -> float:
    return inf


def _one_of_a_batch_is_taken_back(self: Any, ids: Any) -> None:
    for id in ids:
        if id in self.sent:
            self.sent[id].sent_at = inf


def _as_the_whole(self: Any, reply: Any) -> Any:
    return reply


FAULTS: dict[str, Plant] = {
    "a batch is taken back in part": changed(
        InFlight, "mark_unsent", _one_of_a_batch_is_taken_back
    ),
    "the success of a batch is that of its orders": changed(
        OpenCancel, "own_answer", _as_the_whole
    ),
    "pongs are not heard": faulty(Connection, receive=_pongs_are_not_heard),
    "late replies are forgotten": changed(Outcomes, "time_out", _late_replies_are_forgotten),
    "what never left counts as sent": faulty(Connection, lost=_never_sent),
    "what left counts as not sent": faulty(Connection, lost=_sent_is_taken_back),
    "a deadline is 2**-40 s late": changed(FrameQueue, "hand_out", _a_tick_longer),
    "an outcome comes twice": changed(Outcomes, "settle", _outcome_again),
    "an outcome is lost": changed(Outcomes, "settle", _no_outcome),
    "the end is in another order": changed(InFlight, "in_order", _in_another_order),
    "ids are made otherwise": changed(RequestIds, "make", _another_id),
    "an urgent one waits behind the others": changed(InFlight, "enqueue", _not_urgent),
    "in a session an urgent one waits behind the others": changed(
        SessionQueue, "take", _not_urgent_in_a_session
    ),
    "nothing is withdrawn": faulty(Connection, withdraw=_withdraws_nothing),
    "in a session nothing is withdrawn": faulty(Session, withdraw=_withdraws_nothing),
    "Retry-After is not heard": changed(Redial, "retry_after", _does_not_wait),
    "a silent link is not asked": changed(Heartbeat, "silence_due_at", _is_not_asked),
    "an error without id ends nothing": changed(connection_module, "FATAL_ERRORS", {}),
    "30006 pauses nothing": changed(connection_module, "TOO_MANY_REQUESTS", "0"),
    "an unknown outcome is a rejection": changed(
        in_flight_module, "REFUSALS", frozenset(CodeClass)
    ),
    "nothing is sent again": faulty(Session, cancel=_resends_nothing),
    "everything is sent again": faulty(Session, cancel=_resends_all),
    "the session does not leave": changed(Links, "leave", _stays),
    "the stamp is not asked for": changed(Links, "_refused", _forgets_the_stamp),
    "refused logins are tried again": changed(links_module, "REFUSED_FOR_GOOD", frozenset[str]()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_core_with_a_bug_does_not_pass(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    differing = [name for name in LIVES if replay(committed(name)) is not None]
    assert differing, "no committed trace shows a difference"


@pytest.mark.parametrize(
    "name",
    [
        "paces",
        "login_timeout",
        "pong_timeout",
        "drain_timeout",
        "answer_timeout",
        "queue_timeout",
        "silence",
        "silence_pong",
        "pace_margin",
    ],
)
def test_other_limits_do_not_pass(name: str) -> None:
    limit = "messages_per_second" if name == "paces" else name
    assert limit in attrs.fields_dict(Config)
    differing = 0
    for life in LIVES:
        lines = committed(life)
        first = json.loads(lines[0])
        config = first["config"].get("link", first["config"])
        config[limit] += 1
        differing += replay([json.dumps(first), *lines[1:]]) is not None
    assert differing


# --- regenerate the traces ---


def write() -> None:
    TRACES.mkdir(exist_ok=True)
    for name in LIVES:
        path, lines = TRACES / f"{name}.jsonl", lived(name)
        if not path.exists() or committed(name)[1:] != lines[1:]:
            path.write_text("".join(lines), "ascii")


if __name__ == "__main__":
    write()
