"""`SessionConfig`: defaults, and values that are refused."""

from __future__ import annotations

from math import inf, nan

import attrs
import pytest

from bitget_proto import Config, Policy, SessionConfig, ValidationError

SECONDS = [
    "no_link_timeout",
    "rest_after",
    "resend_interval",
    "dial_timeout",
    "backoff_min",
    "backoff_max",
    "steady_after",
    "lifetime",
]
COUNTS = ["dials_per_5_minutes"]


def config(name: str, value: object) -> SessionConfig:
    """A `SessionConfig` with one limit set, as an unchecked caller may set it."""
    return SessionConfig(**{name: value})  # type: ignore[arg-type]  # that is what is tested


def test_the_defaults() -> None:
    assert attrs.asdict(SessionConfig(), recurse=False) == {
        "link": Config(),
        "links": 1,
        "policy": Policy.REPORT,
        "client_oids_unique": False,
        "no_link_timeout": 10,
        "rest_after": None,
        "resend_interval": 1,
        "dial_timeout": 20,
        "dials_per_5_minutes": 300,
        "backoff_min": 0.5,
        "backoff_max": 30,
        "steady_after": 2,
        "lifetime": 86400,
        "rotate_before": 600,
    }


@pytest.mark.parametrize("name", [*SECONDS, *COUNTS])
def test_none_switches_a_limit_off(name: str) -> None:
    assert getattr(config(name, None), name) is None


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, inf, nan, True, "10"])
def test_invalid_seconds_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(
        ValidationError, match=rf"^{name} must be a finite number of seconds above 0"
    ):
        config(name, value)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "10"])
def test_an_invalid_count_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=rf"^{name} must be a whole number from 1 up"):
        config(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("link", None, r"^link must be a Config; got None"),
        ("links", 0, r"^links must be a whole number from 1 to 100; got the int 0"),
        ("links", 101, r"^links must be a whole number from 1 to 100; got the int 101"),
        ("links", True, r"^links must be a whole number from 1 to 100; got True"),
        ("links", None, r"^links must be a whole number from 1 to 100; got None"),
        ("policy", "resend", r"^policy must be Policy\.REPORT or Policy\.RESEND; got 'resend'"),
        ("client_oids_unique", 1, r"^client_oids_unique must be True or False; got the int 1"),
        (
            "rotate_before",
            None,
            r"^rotate_before must be a finite number of seconds above 0; got None",
        ),
        ("rotate_before", 0, r"^rotate_before must be a finite number of seconds above 0"),
        (
            "rotate_before",
            86400,
            r"^rotate_before must be less than lifetime \(86400 s\); got 86400 s: lower it, or raise ",
        ),
        (
            "backoff_min",
            31,
            r"^backoff_max must be at least backoff_min \(31 s\); got 30 s: raise it, or lower backoff_min$",
        ),
    ],
)
def test_contradictory_limits_are_refused_with_the_reason(
    name: str, value: object, words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        config(name, value)


def test_limits_that_are_off_are_not_compared() -> None:
    assert SessionConfig(lifetime=None, rotate_before=1e9).rotate_before == 1e9
    assert SessionConfig(backoff_min=31, backoff_max=None).backoff_max is None
    assert SessionConfig(backoff_min=None, backoff_max=0.1).backoff_max == 0.1
    assert SessionConfig(backoff_min=5.0, backoff_max=5.0).backoff_max == 5.0


def test_policies_say_what_they_do() -> None:
    assert [policy.value for policy in Policy] == ["report", "resend"]
    assert all(policy.sentence.endswith(".") for policy in Policy)
