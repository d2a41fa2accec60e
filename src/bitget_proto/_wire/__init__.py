"""The wire format: the codec, its JSON engines, message types and redaction."""
