"""The pure state machines: a connection, a session, and what they are made of."""
