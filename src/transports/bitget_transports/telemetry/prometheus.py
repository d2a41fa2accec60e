"""Prometheus metrics of channels.

    metrics = PrometheusMetrics()
    async with connect(key, observe=metrics.channel("main")) as channel:
        metrics.watch("main", channel)
        ...

docs/operation.md lists the metrics. A counter has one value for each code of the exchange that is
listed in docs/codes.md, and `other` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise ImportError(
        "these metrics need prometheus-client: pip install 'bitget-proto[prometheus]'"
    ) from error

from bitget_proto import (
    Accepted,
    Cancelled,
    Event,
    Filled,
    Final,
    NotFound,
    Rejected,
    SessionEvent,
    StillOpen,
    Unknown,
    Unresolved,
)

from ._labels import Counted, event_labels, final_labels, outcome_labels, up_after

_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0,
)  # fmt: skip
"""Upper bounds, in seconds: up to the default `Config.queue_timeout`. Our choice."""


class PrometheusMetrics:
    """The metrics of any number of channels. Make one for each registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        channel = ("channel",)
        self._cancels = Counter(
            "bitget_cancels", "Outcomes of cancels.", (*channel, "outcome", "reason", "code"),
            registry=registry,
        )  # fmt: skip
        self._queued = Histogram(
            "bitget_cancel_queue_seconds", "From cancel until it was sent.", channel,
            registry=registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._answered = Histogram(
            "bitget_cancel_answer_seconds", "From sending until the exchange's answer.", channel,
            registry=registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._finals = Counter(
            "bitget_finals", "What became of orders.", (*channel, "final", "reason", "evidence"),
            registry=registry,
        )  # fmt: skip
        self._confirmed = Histogram(
            "bitget_confirm_seconds", "From confirm until it was known.", channel,
            registry=registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._events = Counter(
            "bitget_events", "Events that are not outcomes.", (*channel, "event", "reason", "code"),
            registry=registry,
        )  # fmt: skip
        self._up = Gauge(
            "bitget_channel_up", "Whether cancels can be sent.", channel, registry=registry
        )
        self._in_flight = Gauge(
            "bitget_cancels_in_flight", "Cancels without an outcome.", channel, registry=registry
        )
        self._capacity = Gauge(
            "bitget_cancel_capacity",
            "Cancels that can be submitted now.",
            channel,
            registry=registry,
        )

    def channel(self, name: str) -> Callable[[Event | SessionEvent | Final, float], None]:
        """Return the `observe` of one channel; `name` is its label `channel`."""
        cancels, events = self._cancels, self._events
        queued, answered = self._queued.labels(name), self._answered.labels(name)
        finals, confirmed = self._finals, self._confirmed.labels(name)
        accepted = cancels.labels(name, "accepted", "", "")
        up = self._up.labels(name)

        def observe(event: Event | SessionEvent | Final, at: float) -> None:
            if isinstance(event, Accepted):
                accepted.inc()
            elif isinstance(event, (Rejected, Unresolved)):
                cancels.labels(name, *outcome_labels(event)).inc()
            elif isinstance(event, (Cancelled, Filled, StillOpen, NotFound, Unknown)):
                finals.labels(name, *final_labels(event)).inc()
                confirmed.observe(at - event.tracked_at)
                return
            else:
                events.labels(name, *event_labels(event)).inc()
                if (now_up := up_after(event)) is not None:
                    up.set(now_up)
                return
            if event.sent_at is not None:
                queued.observe(event.sent_at - event.taken_at)
                if not isinstance(event, Unresolved):
                    answered.observe(at - event.sent_at)

        return observe

    def watch(self, name: str, channel: Counted) -> None:
        """Read the gauges of cancels from this channel, whenever the metrics are collected."""
        self._in_flight.labels(name).set_function(lambda: channel.in_flight)
        self._capacity.labels(name).set_function(lambda: channel.capacity)
