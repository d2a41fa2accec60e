"""Hostile servers, and a proxy that breaks connections, for tests of transports."""
