"""The exchange's side of the protocol."""
