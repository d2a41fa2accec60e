"""The conformance kit for drivers."""
