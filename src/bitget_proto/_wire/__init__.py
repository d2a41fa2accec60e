"""Text to messages and back: the codec and its JSON engines, redaction, explanation of codes."""
