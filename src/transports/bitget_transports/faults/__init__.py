"""Hostile servers and a proxy that cuts connections, for tests of transports."""
