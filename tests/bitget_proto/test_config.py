"""Tests of a connection's limits: defaults, allowed values, errors."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan

import attrs
import pytest

from bitget_proto import Config, ValidationError

SECONDS = [
    "login_timeout",
    "ping_interval",
    "pong_timeout",
    "answer_timeout",
    "queue_timeout",
    "silence",
    "silence_pong",
    "drain_timeout",
    "pace_margin",
]
COUNTS = [
    "messages_per_second",
    "max_in_flight",
    "max_message",
    "max_batch",
    "max_depth",
    "max_own_frames",
    "late_ids",
]


def config(name: str, value: object) -> Config:
    """A `Config` with one limit set, without type checks."""
    return Config(**{name: value})  # type: ignore[arg-type]  # invalid types are tested


def test_the_defaults_are_the_documented_ones() -> None:
    assert attrs.asdict(Config()) == {
        "login_timeout": 10,
        "ping_interval": 30,
        "pong_timeout": 10,
        "answer_timeout": 10,
        "queue_timeout": 150,
        "silence": 2,
        "silence_pong": 3,
        "drain_timeout": 5,
        "messages_per_second": 10,
        "pace_margin": 0.05,
        "max_in_flight": 1000,
        "max_message": 65536,
        "max_batch": 20,
        "max_depth": 32,
        "max_own_frames": 100,
        "late_ids": 1024,
        "id_prefix": "bgproto",
    }


def test_every_limit_is_covered_by_these_tests() -> None:
    assert sorted([*SECONDS, *COUNTS, "id_prefix"]) == sorted(
        field.name for field in attrs.fields(Config)
    )


@pytest.mark.parametrize("name", [*SECONDS, *COUNTS])
def test_none_switches_a_limit_off(name: str) -> None:
    assert getattr(config(name, None), name) is None


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [1, 0.001, 1e300, 5e-324])
def test_any_finite_positive_number_of_seconds_is_allowed(name: str, value: float) -> None:
    assert getattr(config(name, value), name) == value


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize(
    "value", [0, 0.0, -0.0, -1, inf, -inf, nan, True, "10", b"1", Fraction(1), [1]]
)
def test_any_other_number_of_seconds_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(
        ValidationError,
        match=rf"^{name} must be a finite number of seconds above 0, or None for no limit; got ",
    ):
        config(name, value)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [1, 2, 10**9])
def test_any_positive_integer_is_allowed(name: str, value: int) -> None:
    assert getattr(config(name, value), name) == value


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, nan, inf, True, "10", b"1", [1]])
def test_any_other_count_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(
        ValidationError,
        match=rf"^{name} must be a whole number from 1 up, or None for no limit; got ",
    ):
        config(name, value)


@pytest.mark.parametrize("prefix", ["", "a", "bot-7:", "a" * 20, " ", "_:#-+ "])
def test_a_prefix_has_up_to_20_characters_allowed_in_an_id(prefix: str) -> None:
    assert Config(id_prefix=prefix).id_prefix == prefix


@pytest.mark.parametrize("prefix", ["é", "a.b", "a\n", "\t", "a" * 41, None, 5, b"a", True])
def test_a_prefix_that_cannot_begin_an_id_is_refused(prefix: object) -> None:
    with pytest.raises(ValidationError, match="must be"):
        config("id_prefix", prefix)


def test_a_prefix_must_leave_room_for_the_counter() -> None:
    with pytest.raises(ValidationError, match=r"^id_prefix must be at most 20 of the characters"):
        Config(id_prefix="a" * 21)


def test_limits_are_immutable() -> None:
    limits = Config()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limits.max_depth = 5  # type: ignore[misc]  # deliberate misuse


def test_evolved_limits_are_checked_again() -> None:
    with pytest.raises(ValidationError, match=r"^max_depth must"):
        attrs.evolve(Config(), max_depth=0)


def test_limits_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        Config(10.0)  # type: ignore[call-arg]  # deliberate misuse


def test_limits_compare_and_hash_by_value() -> None:
    assert len({Config(), Config(max_depth=32), Config(max_depth=33)}) == 2
