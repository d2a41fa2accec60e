"""What a scenario of the conformance kit is.

Rules of this file
- A scenario is data: its name, the rule that it is there for, a sentence that says what is played and demanded, and the
  function that plays it. Tables, commands and docs are drawn from these.
- It says what it tolerates, and everything tolerates that what is due comes late, by the `patience` of the run.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..._machine.connection_config import Config
from .harness import Stage
from .strict_connection import Rule

QUIET = Config(
    login_timeout=None,
    ping_interval=None,
    silence=None,
    messages_per_second=None,
    max_in_flight=None,
    max_own_frames=None,
)
"""A connection in which nothing happens by itself but the deadlines of cancels."""

SOON = 0.04
"""Seconds: for a loop on loopback long enough to have done what it has to, for whoever looks on soon over."""

DEAF = 3.0
"""Seconds in which a hangup that is not answered must come to its end, beside the run's `patience`."""


@attrs.frozen(kw_only=True)
class Scenario:
    """A short life of a driver, played against a peer, and what is demanded of it."""

    name: str
    rule: Rule
    """The rule that it is there for. Others may be found broken as well."""

    tells: str
    """What is played and demanded, in a sentence."""

    play: Callable[[Stage], None] = attrs.field(repr=False)
    """Plays it; raises DriverError for what is broken."""

    config: Config = attrs.field(default=QUIET, repr=False)
    narrow: bool = False
    """Whether little fits between the driver and the peer."""

    tolerates: str = ""
    """What it does not hold against a driver, beside lateness."""
