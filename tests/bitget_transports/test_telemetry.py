"""Metrics and spans agree with the outcomes to the unit.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from bitget_proto import (
    Accepted,
    CallerError,
    Cancelled,
    CancelOrder,
    Closed,
    CodeClass,
    Down,
    Ended,
    Event,
    Evidence,
    ExchangeError,
    Filled,
    Final,
    GoingAway,
    LateReply,
    LinkClosed,
    LoginRejected,
    NotFound,
    Outcome,
    Ready,
    SessionConfig,
    SessionEvent,
    StillOpen,
    Unknown,
    Unrecognised,
    Unresolved,
    Up,
    WhyClosed,
    WhyEnded,
    WhyUnknown,
    WhyUnrecognised,
    WhyUnresolved,
)
from bitget_proto.testing import Fault
from bitget_transports import Limits, clock
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.telemetry._labels import event_labels, final_labels, outcome_labels
from bitget_transports.telemetry.opentelemetry import OpenTelemetry
from bitget_transports.telemetry.prometheus import PrometheusMetrics

from .colours import FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
UNKNOWN = CancelOrder("BTCUSDT", order_id="999")
ORDER = CancelOrder("BTCUSDT", order_id="1")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


class World:
    """Both kinds of telemetry, and the outcomes that a run returned."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.prometheus = PrometheusMetrics(self.registry)
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.opentelemetry = OpenTelemetry(traces, self.meters)
        self.returned: list[Outcome] = []
        self.finals: list[Final] = []
        first = self.prometheus.channel("main")
        second = self.opentelemetry.channel("main")

        def observe(event: Event | SessionEvent | Final, at: float) -> None:
            first(event, at)
            second(event, at)

        self.observe = observe

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"channel": "main"} | labels)

    def metric(self, name: str) -> Counter[tuple[str, ...]]:
        """Return the values of an OpenTelemetry counter by its attributes, without the channel."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found: Counter[tuple[str, ...]] = Counter()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            if metric.name == name:
                for point in metric.data.data_points:
                    attributes = dict(point.attributes or {})
                    assert attributes.pop("channel") == "main"
                    amount = getattr(point, "value", None)
                    found[tuple(map(str, attributes.values()))] += (
                        getattr(point, "count", 0) if amount is None else amount
                    )
        return found


def run(flavour: Flavour) -> World:
    """Cancel with every kind of outcome in a session that loses a link."""
    world = World()
    config = SessionConfig(link=FAST, backoff_min=0.01, backoff_max=0.05)
    with exchange_in_thread(fast_exchange(5, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=config, limits=LIMITS, observe=world.observe
            ) as channel:
                world.prometheus.watch("main", getattr(channel, "blocking", channel))
                async for outcome in channel.cancel_many(orders(3)):
                    world.returned.append(outcome)
                world.returned.append(await channel.cancel(UNKNOWN))
                server.inject(Fault.UNSURE)
                world.returned.append(await channel.cancel(orders(4)[3]))
                assert world.value("bitget_channel_up") == 1
                assert world.value("bitget_cancels_in_flight") == 0
                assert world.value("bitget_cancel_capacity") == channel.capacity
                server.drop()
                async for event in channel.events:
                    if isinstance(event, Up) and event.link == 2:
                        break
            world.returned.append(await channel.cancel(UNKNOWN))

        flavour.run_session(tidy(scenario))
    world.meters.shutdown()
    return world


EXPECTED = {
    ("accepted", "", ""): 3,
    ("rejected", "not found", "43001"): 1,
    ("unresolved", "unsure", "40010"): 1,
    ("unsent", "closed", ""): 1,
}


@pytest.mark.parametrize("flavour", Flavour)
def test_metrics_and_spans_agree_with_the_outcomes(flavour: Flavour) -> None:
    world = run(flavour)
    assert Counter(map(outcome_labels, world.returned)) == EXPECTED
    for (outcome, reason, code), count in EXPECTED.items():
        labels = {"outcome": outcome, "reason": reason, "code": code}
        assert world.value("bitget_cancels_total", **labels) == count
    assert world.value("bitget_cancel_queue_seconds_count") == 5
    assert world.value("bitget_cancel_answer_seconds_count") == 4
    sent = [each for each in world.returned if each.sent_at is not None]
    assert world.value("bitget_cancel_queue_seconds_sum") == pytest.approx(
        sum(each.sent_at - each.taken_at for each in sent if each.sent_at is not None)
    )
    assert world.value("bitget_channel_up") == 0
    up = world.value("bitget_events_total", event="up", reason="", code="")
    down = world.value("bitget_events_total", event="down", reason="lost", code="")
    assert (up, down) == (2, 1)
    assert b"bitget_cancels_total" in generate_latest(world.registry)


@pytest.mark.parametrize("flavour", [Flavour.ASYNCIO])
def test_the_metrics_of_opentelemetry_agree_as_well(flavour: Flavour) -> None:
    world = World()
    config = SessionConfig(link=FAST)
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=config, limits=LIMITS, observe=world.observe
            ) as channel:
                for order in (*orders(2), UNKNOWN):
                    world.returned.append(await channel.cancel(order))
                assert world.metric("bitget.channel.up") == {(): 1}

        flavour.run_session(tidy(scenario))
    assert world.metric("bitget.cancels") == Counter(map(outcome_labels, world.returned))
    assert world.metric("bitget.cancel.queue") == {(): 3}
    assert world.metric("bitget.cancel.answer") == {(): 3}
    assert world.metric("bitget.channel.up") == {(): 0}
    assert world.metric("bitget.events")["up", "", ""] == 1
    world.meters.shutdown()


@pytest.mark.parametrize("flavour", Flavour)
def test_each_cancel_is_a_span_with_its_parts(flavour: Flavour) -> None:
    world = run(flavour)
    spans = world.spans.get_finished_spans()
    whole = [span for span in spans if span.name == "bitget.cancel"]
    assert [(span.attributes or {})["bitget.cancel.id"] for span in whole] == [
        outcome.id for outcome in world.returned
    ]

    def seconds(span: ReadableSpan) -> float:
        assert span.start_time is not None
        assert span.end_time is not None
        return (span.end_time - span.start_time) / 1e9

    for span, outcome in zip(whole, world.returned, strict=True):
        assert span.context is not None
        parts = {
            each.name: each
            for each in spans
            if each.parent is not None and each.parent.span_id == span.context.span_id
        }
        assert seconds(span) == pytest.approx(outcome.resolved_at - outcome.taken_at, abs=1e-6)
        if outcome.sent_at is None:
            assert set(parts) == {"bitget.cancel.queued"}
        else:
            assert set(parts) == {"bitget.cancel.queued", "bitget.cancel.sent"}
            queued, sent = parts["bitget.cancel.queued"], parts["bitget.cancel.sent"]
            assert seconds(queued) == pytest.approx(outcome.sent_at - outcome.taken_at, abs=1e-6)
            assert queued.end_time == sent.start_time
            assert (queued.start_time, sent.end_time) == (span.start_time, span.end_time)
        failed = isinstance(outcome, Unresolved) and outcome.sent
        assert (span.status.status_code is StatusCode.ERROR) == failed


def run_with_finals(flavour: Flavour) -> World:
    """Confirm an order that was cancelled, one that was filled, and one that has no clear name."""
    world = World()
    exchange = fast_exchange(2, credentials=KEY)
    exchange.inject(Fault.HALF_FILL_FIRST, Fault.FILL_FIRST)
    with exchange_in_thread(exchange) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=world.observe, orders=True
            ) as channel:
                for order in (*orders(2), CancelOrder("BTCUSDT", client_oid="mine")):
                    outcome = await channel.cancel(order)
                    world.returned.append(outcome)
                    world.finals.append(await channel.confirm(outcome))

        flavour.run(tidy(scenario))
    return world


FINALS = {
    ("cancelled", "", "push"): 1,
    ("filled", "", "push"): 1,
    ("unknown", "ambiguous id", ""): 1,
}


@pytest.mark.parametrize("flavour", Flavour)
def test_metrics_and_spans_agree_with_the_finals(flavour: Flavour) -> None:
    world = run_with_finals(flavour)
    assert Counter(map(final_labels, world.finals)) == FINALS
    for (kind, reason, evidence), count in FINALS.items():
        labels = {"final": kind, "reason": reason, "evidence": evidence}
        assert world.value("bitget_finals_total", **labels) == count
    assert world.metric("bitget.finals") == FINALS
    assert world.value("bitget_confirm_seconds_count") == 3
    assert world.metric("bitget.confirm") == {(): 3}
    assert world.value("bitget_confirm_seconds_sum") == pytest.approx(
        sum(final.resolved_at - final.tracked_at for final in world.finals)
    )
    spans = world.spans.get_finished_spans()
    whole = {(span.attributes or {})["bitget.cancel.id"]: span for span in spans if not span.parent}
    confirmed = [span for span in spans if span.name == "bitget.cancel.confirmed"]
    assert len(whole) == len(confirmed) == 3
    for span, final in zip(confirmed, world.finals, strict=True):
        parent = whole[final.outcome.id]
        assert (span.parent, span.context) != (None, None)
        assert span.parent == parent.context
        assert span.start_time is not None
        assert span.end_time is not None
        assert (span.end_time - span.start_time) / 1e9 == pytest.approx(
            final.resolved_at - final.tracked_at, abs=1e-6
        )
        assert (span.status.status_code is StatusCode.ERROR) == isinstance(final, Unknown)
    world.meters.shutdown()


def test_the_span_of_an_outcome_is_forgotten_with_the_outcome() -> None:
    world, now = World(), clock()
    world.observe(outcome_at(now), now)
    gc.collect()
    world.observe(cancelled(outcome_at(now)), now)
    assert [span.name for span in world.spans.get_finished_spans()] == [
        "bitget.cancel.queued",
        "bitget.cancel.sent",
        "bitget.cancel",
    ], "a final without the span of its cancel has no span"
    assert world.value("bitget_finals_total", final="cancelled", reason="", evidence="push") == 1
    world.meters.shutdown()


def outcome_at(now: float) -> Accepted:
    return Accepted("x", ORDER, taken_at=now, sent_at=now, resolved_at=now, exchange_ts=None)


def cancelled(outcome: Outcome) -> Cancelled:
    return Cancelled(
        number=1, outcome=outcome, order_id="1", client_oid=None, evidence=Evidence.PUSH,
        tracked_at=outcome.resolved_at, resolved_at=outcome.resolved_at, filled=None,
        average_price=None, reason=None, updated_at=None,
    )  # fmt: skip


def test_every_final_has_its_labels() -> None:
    common: dict[str, Any] = {
        "number": 1, "outcome": outcome_at(1.0), "order_id": "1", "client_oid": None,
        "tracked_at": 1.0, "resolved_at": 1.0,
    }  # fmt: skip
    amounts: dict[str, Any] = {"filled": None, "average_price": None}
    finals: list[Final] = [
        cancelled(outcome_at(1.0)),
        Filled(evidence=Evidence.HISTORY, updated_at=None, **amounts, **common),
        StillOpen(evidence=Evidence.LOOK_UP, as_of=1.0, **amounts, **common),
        NotFound(evidence=Evidence.LOOK_UP, **common),
        Unknown(evidence=None, why=WhyUnknown.DEADLINE, filled=None, detail="", **common),
    ]
    assert [type(final) for final in finals] == [*get_args(Final)]
    assert [*map(final_labels, finals)] == [
        ("cancelled", "", "push"),
        ("filled", "", "history"),
        ("still_open", "", "look-up"),
        ("not_found", "", "look-up"),
        ("unknown", "deadline", ""),
    ]


EVENTS: list[tuple[Event | SessionEvent, tuple[str, str, str]]] = [
    (Ready(), ("ready", "", "")),
    (Up(link=1, down_for=0.0), ("up", "", "")),
    (Down(link=1, why=WhyClosed.NO_PONG, detail="x", up_for=0.0), ("down", "no pong", "")),
    (LinkClosed(link=1, why=WhyClosed.LOST, detail="x"), ("link_closed", "lost", "")),
    (Closed(why=WhyClosed.ASKED, detail="x"), ("closed", "asked", "")),
    (Ended(why=WhyEnded.REFUSED, detail="x", code="40012"), ("ended", "refused", "")),
    (GoingAway(message="x", text="x"), ("going_away", "", "")),
    (Unrecognised(text="x", why=WhyUnrecognised.OTHER), ("unrecognised", "other", "")),
    (CallerError(where="jitter"), ("caller_error", "jitter", "")),
]


@pytest.mark.parametrize(("event", "labels"), EVENTS, ids=[f"{each[1][0]}" for each in EVENTS])
def test_an_event_has_its_labels(event: Event | SessionEvent, labels: tuple[str, str, str]) -> None:
    assert event_labels(event) == labels


@pytest.mark.parametrize(("code", "label"), [("30006", "30006"), ("99887766", "other"), (None, "")])
def test_a_code_that_is_not_listed_makes_no_label_of_its_own(code: str | None, label: str) -> None:
    kind = CodeClass.of(code)
    for event in (
        ExchangeError(code=code, code_class=kind, message="x", text="x"),
        LoginRejected(code=code, code_class=kind, message="x", text="x"),
        LateReply(
            id="x", order=ORDER, code=code, code_class=kind, message="x", exchange_ts=None, text="x"
        ),
    ):
        assert event_labels(event)[2] == label
    unsure = Unresolved(
        "x", ORDER, taken_at=0.0, sent_at=0.0, resolved_at=0.0, sent=True,
        why=WhyUnresolved.UNSURE, code=code,
    )  # fmt: skip
    assert outcome_labels(unsure) == ("unresolved", "unsure", label)


def test_two_channels_have_values_of_their_own() -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    for name in ("a", "b", "b"):
        now = clock()
        accepted = Accepted(
            "x", ORDER, taken_at=now, sent_at=now, resolved_at=now, exchange_ts=None
        )
        metrics.channel(name)(accepted, now)
    labels = {"outcome": "accepted", "reason": "", "code": ""}
    found = [
        registry.get_sample_value("bitget_cancels_total", {"channel": name} | labels)
        for name in ("a", "b")
    ]
    assert found == [1, 2]


def test_nothing_else_imports_them() -> None:
    code = (
        "import sys\n"
        "import bitget_transports.asyncio, bitget_transports.anyio, bitget_transports.blocking\n"
        "import bitget_transports.cli, bitget_transports.exchange, bitget_transports.telemetry\n"
        "assert not {'prometheus_client', 'opentelemetry'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
