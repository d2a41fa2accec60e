"""Metrics and spans from the `observe` of a channel: `prometheus` and `opentelemetry`, each with
the extra of the same name.
"""
