"""Bad days at the default settings, each held against the exchange's own log: `python -m tests.chaos.days`.

Rules of this package
- No `Config` is passed, unless the row is about one: what is shown is what a new user gets.
- Virtual time where it is possible, real sockets where it is not. What is random comes from the seed.
- A row is lived first and judged afterwards. A judge looks at what the exchange received, did and said, and at what the
  harness was given and when; it believes nothing that the client says about itself.
"""
