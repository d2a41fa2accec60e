"""`python -m tests.chaos.days`: adverse scenarios at the default settings.

- No `Config` is passed, unless the scenario is about one: the result is what a new user gets.
- Time is virtual where possible, and real where sockets or signals are needed. Random values come
  from the seed.
- A scenario runs first and is judged afterwards. A judge uses what the exchange received, did and
  sent, and the events of the client with their times. It trusts nothing that the client reports
  about itself.
"""
