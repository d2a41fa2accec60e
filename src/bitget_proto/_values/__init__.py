"""What is talked about: orders, credentials, outcomes and other outputs, states, codes, timers, errors."""
