"""Transports that bind `bitget_proto` to one way of doing I/O each. Nothing about the protocol is decided here."""

__all__: list[str] = []
