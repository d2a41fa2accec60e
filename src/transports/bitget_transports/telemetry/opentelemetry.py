"""OpenTelemetry spans and metrics of channels.

    telemetry = OpenTelemetry()  # the providers that are set globally
    async with connect(key, observe=telemetry.channel("main")) as channel:
        ...

Each cancel is a span `bitget.cancel` with two children: `bitget.cancel.queued`, until it was sent,
and `bitget.cancel.sent`, until it was answered or given up. They are made when the outcome is
known, and have no parent. Their attributes are the outcome, its reason and code, the ids of the
order, and the number of attempts. A span whose outcome is unresolved has the status ERROR.

The metrics are those of `bitget_transports.telemetry.prometheus`, without the gauges of cancels:
`bitget.cancels`, `bitget.cancel.queue`, `bitget.cancel.answer` (in seconds), `bitget.events` and
`bitget.channel.up`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

try:
    from opentelemetry.metrics import MeterProvider, get_meter_provider
    from opentelemetry.trace import (
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

from bitget_proto import Accepted, Event, Outcome, Rejected, SessionEvent, Unresolved

from .._driver.clock import clock
from ._labels import event_labels, outcome_labels, up_after

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
        self._events = meter.create_counter("bitget.events", "1", "Events that are not outcomes.")
        self._up = meter.create_up_down_counter(
            "bitget.channel.up", "1", "Channels on which cancels can be sent."
        )

    def channel(self, name: str) -> Callable[[Event | SessionEvent, float], None]:
        """Return the `observe` of one channel; `name` is the attribute `channel`."""
        up = False

        def observe(event: Event | SessionEvent, at: float) -> None:
            nonlocal up
            if isinstance(event, (Accepted, Rejected, Unresolved)):
                self._outcome(name, event, at)
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

        now, now_ns = clock(), time.time_ns()

        def unix(then: float) -> int:
            """Return a time of the transports' clock in nanoseconds since 1970."""
            return now_ns - int((now - then) * 1e9)

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
            if kind == "unresolved":
                span.set_status(Status(StatusCode.ERROR, reason))
            inside = set_span_in_context(span)
            sent = end if sent_at is None else unix(sent_at)
            tracer.start_span("bitget.cancel.queued", inside, start_time=begin).end(sent)
            if sent_at is not None:
                tracer.start_span("bitget.cancel.sent", inside, start_time=sent).end(end)
        span.end(end)
