"""The sans-IO state machines: a connection, a session, and their components."""
