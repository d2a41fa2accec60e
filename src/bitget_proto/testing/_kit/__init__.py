"""Conformance kit for drivers."""
