"""The data of a conformance scenario.

The report, `--list` and the table in docs/conformance.md are made from it. Every scenario tolerates
lateness up to the `patience` of the run, in addition to what its `tolerates` names.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..._machine.connection_config import Config
from ..._machine.session_config import SessionConfig
from ..._values.dialects import Dialect
from .driver_checks import Rule
from .harness import Stage

QUIET = Config(
    login_timeout=None,
    ping_interval=None,
    silence=None,
    messages_per_second=None,
    max_in_flight=None,
    max_own_frames=None,
)
"""A configuration without timers, except the deadlines of cancels."""

SESSION = SessionConfig(
    no_link_timeout=None,
    resend_interval=None,
    dial_timeout=None,
    dials_per_5_minutes=None,
    backoff_min=0.05,
    backoff_max=0.4,
    lifetime=None,
)
"""A configuration of a session without timers, except the backoff."""

SOON = 0.04
"""Seconds: long enough for a loop on loopback to finish its work, and short for a test."""

TOO_LATE = "a deadline passed before the scenario had prepared its situation"

HANGUP_LIMIT = 3.0
"""Seconds within which an unanswered hangup must end, in addition to the run's `patience`."""


@attrs.frozen(kw_only=True)
class Scenario:
    """A short run of a driver against a peer, with its requirements."""

    name: str
    rule: Rule
    """The rule that the scenario tests. It may find other rules broken as well."""

    tells: str
    """What is played and required, in a sentence."""

    play: Callable[[Stage], None] = attrs.field(repr=False)
    """Plays the scenario; raises DriverError for a broken rule."""

    config: Config = attrs.field(default=QUIET, repr=False)
    session: SessionConfig = attrs.field(default=SESSION, repr=False)
    """For drivers of a session: its limits, except those of the links."""

    dialect: Dialect = attrs.field(default=Dialect.CLASSIC, repr=False)
    """The kind of account; only unified accounts have batches."""

    narrow: bool = False
    """Whether socket buffers between the driver and the peer are small."""

    tolerates: str = ""
    """What the scenario accepts, in addition to lateness."""
