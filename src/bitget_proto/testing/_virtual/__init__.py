"""Virtual time: a clock, a network, and a client with its exchange."""
