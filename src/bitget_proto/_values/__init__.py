"""Value types: orders, credentials, outcomes, events, states, error codes, timers, exceptions."""
