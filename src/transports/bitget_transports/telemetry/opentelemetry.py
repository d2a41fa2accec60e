"""OpenTelemetry spans and metrics of channels.

    telemetry = OpenTelemetry()  # the providers that are set globally
    async with connect(key, observe=telemetry.channel("main")) as channel:
        ...

Each cancel is a span `bitget.cancel` with two children: `bitget.cancel.queued`, until it was sent,
and `bitget.cancel.sent`, until it was answered or given up. All three are made when the outcome is
known; `bitget.cancel` has no parent, unless a span is current at that moment. `confirm` and
`cancel_all` add a third child, `bitget.cancel.confirmed`, from the call until it was known what
became of the order. Its attributes are the final, its reason and its evidence. The attributes of a
cancel are the outcome, its reason and code, the ids of the order, and the number of attempts. A
span whose outcome is `Unresolved(sent=True)`, or whose final is `Unknown`, has the status ERROR.

The metrics are those of `bitget_transports.telemetry.prometheus`, without the gauges of cancels:
`bitget.cancels`, `bitget.cancel.queue`, `bitget.cancel.answer` and `bitget.confirm` (in seconds),
`bitget.finals`, `bitget.events` and `bitget.channel.up`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

try:
    from opentelemetry.metrics import MeterProvider, get_meter_provider
    from opentelemetry.trace import (
        Span,
        Status,
        StatusCode,
        TracerProvider,
        get_tracer_provider,
        set_span_in_context,
    )
except ImportError as error:
    raise ImportError(
        "this needs opentelemetry-api: pip install 'bitget-proto[opentelemetry]'"
    ) from error

from bitget_proto import (
    Accepted,
    Cancelled,
    Event,
    Filled,
    Final,
    NotFound,
    Outcome,
    Rejected,
    SessionEvent,
    StillOpen,
    Unknown,
    Unresolved,
)

from .._driver.clock import clock
from ._labels import event_labels, final_labels, outcome_labels, up_after

_NAME = "bitget_transports"


class OpenTelemetry:
    """The spans and metrics of any number of channels."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        meter = (meter_provider or get_meter_provider()).get_meter(_NAME)
        self._tracer = (tracer_provider or get_tracer_provider()).get_tracer(_NAME)
        self._cancels = meter.create_counter("bitget.cancels", "1", "Outcomes of cancels.")
        self._queued = meter.create_histogram(
            "bitget.cancel.queue", "s", "From cancel until it was sent."
        )
        self._answered = meter.create_histogram(
            "bitget.cancel.answer", "s", "From sending until the exchange's answer."
        )
        self._finals = meter.create_counter("bitget.finals", "1", "What became of orders.")
        self._confirmed = meter.create_histogram(
            "bitget.confirm", "s", "From confirm until it was known."
        )
        self._events = meter.create_counter("bitget.events", "1", "Events that are not outcomes.")
        self._up = meter.create_up_down_counter(
            "bitget.channel.up", "1", "Channels on which cancels can be sent."
        )

        self._spans: WeakKeyDictionary[Outcome, Span] = WeakKeyDictionary()
        """The spans of the outcomes that still exist: any may be confirmed."""

    def channel(self, name: str) -> Callable[[Event | SessionEvent | Final, float], None]:
        """Return the `observe` of one channel; `name` is the attribute `channel`."""
        up = False

        def observe(event: Event | SessionEvent | Final, at: float) -> None:
            nonlocal up
            if isinstance(event, (Accepted, Rejected, Unresolved)):
                self._outcome(name, event, at)
                return
            if isinstance(event, (Cancelled, Filled, StillOpen, NotFound, Unknown)):
                self._final(name, event)
                return
            kind, reason, code = event_labels(event)
            self._events.add(1, {"channel": name, "event": kind, "reason": reason, "code": code})
            now_up = up_after(event)
            if now_up is not None and now_up is not up:
                up = now_up
                self._up.add(1 if up else -1, {"channel": name})

        return observe

    def _outcome(self, name: str, outcome: Outcome, at: float) -> None:
        kind, reason, code = outcome_labels(outcome)
        labels = {"channel": name, "outcome": kind, "reason": reason, "code": code}
        self._cancels.add(1, labels)
        sent_at = outcome.sent_at
        if sent_at is not None:
            self._queued.record(sent_at - outcome.taken_at, {"channel": name})
            if not isinstance(outcome, Unresolved):
                self._answered.record(at - sent_at, {"channel": name})

        unix = _unix_times()
        order, tracer = outcome.order, self._tracer
        begin, end = unix(outcome.taken_at), unix(at)
        span = tracer.start_span(
            "bitget.cancel",
            attributes=labels
            | {
                "bitget.cancel.id": outcome.id,
                "bitget.order_id": order.order_id or "",
                "bitget.client_oid": order.client_oid or "",
                "bitget.attempts": outcome.attempts,
            },
            start_time=begin,
        )
        if span.is_recording():
            self._spans[outcome] = span
            if kind == "unresolved":
                span.set_status(Status(StatusCode.ERROR, reason))
            inside = set_span_in_context(span)
            sent = end if sent_at is None else unix(sent_at)
            tracer.start_span("bitget.cancel.queued", inside, start_time=begin).end(sent)
            if sent_at is not None:
                tracer.start_span("bitget.cancel.sent", inside, start_time=sent).end(end)
        span.end(end)

    def _final(self, name: str, final: Final) -> None:
        kind, reason, evidence = final_labels(final)
        labels = {"channel": name, "final": kind, "reason": reason, "evidence": evidence}
        self._finals.add(1, labels)
        self._confirmed.record(final.resolved_at - final.tracked_at, {"channel": name})
        cancel = self._spans.get(final.outcome)
        if cancel is not None:
            unix = _unix_times()
            span = self._tracer.start_span(
                "bitget.cancel.confirmed",
                set_span_in_context(cancel),
                attributes=labels,
                start_time=unix(final.tracked_at),
            )
            if isinstance(final, Unknown):
                span.set_status(Status(StatusCode.ERROR, reason))
            span.end(unix(final.resolved_at))


def _unix_times() -> Callable[[float], int]:
    """Return a function that converts a time of the transports' clock to nanoseconds since 1970."""
    now, now_ns = clock(), time.time_ns()
    return lambda then: now_ns - int((now - then) * 1e9)
