"""Tests of request ids: generation, and refused ids."""

from __future__ import annotations

import pytest

from bitget_proto import ValidationError
from bitget_proto._machine.request_ids import RequestIds


def free(_: str) -> None:
    """No id belongs to a cancel."""
    return


def has(*ids: str) -> dict[str, str]:
    """The ids that belong to cancels, as a core reports them."""
    return dict.fromkeys(ids, "is in flight")


def test_generated_ids_are_the_prefix_and_a_counter() -> None:
    ids = RequestIds("p")
    assert [ids.make() for _ in range(3)] == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("used", "following"),
    [
        ("p1", "p2"),
        ("p7", "p8"),
        ("p007", "p8"),
        ("p0", "p1"),
        ("p", "p1"),
        ("px7", "p1"),
        ("p7x", "p1"),
        ("p+7", "p1"),
        ("q7", "p1"),
        ("7", "p1"),
        ("p999999999999998", "p999999999999999"),
        ("p1999999999999999", "p1"),
    ],
)
@pytest.mark.parametrize("how", ["cancel", "own frame"])
def test_an_id_that_the_caller_has_used_is_not_generated(
    used: str, following: str, how: str
) -> None:
    ids = RequestIds("p")
    if how == "cancel":
        assert ids.check(used, free) == used
    else:
        ids.remember([used], free)
    assert ids.make() == following


@pytest.mark.parametrize("digits", ["\u0663", "\u00b2", "\uff17"])
def test_digits_of_other_scripts_do_not_advance_the_counter(digits: str) -> None:
    ids = RequestIds("p")
    ids.remember([f"p{digits}"], free)
    assert ids.make() == "p1"


def test_a_smaller_id_of_the_caller_does_not_reset_the_counter() -> None:
    ids = RequestIds("p")
    ids.check("p9", free)
    ids.check("p2", free)
    assert ids.make() == "p10"


def test_without_a_prefix_a_generated_id_is_a_number() -> None:
    ids = RequestIds("")
    ids.check("41", free)
    ids.check("1376695893517410305", free)
    assert ids.make() == "42"


def test_an_id_in_use_is_refused_and_nothing_changes() -> None:
    ids = RequestIds("p")
    with pytest.raises(
        ValidationError,
        match=r"^the id 'p7' is in flight: pass another id, or leave id out to have one generated$",
    ):
        ids.check("p7", has("p7").get)
    assert ids.make() == "p1"


def test_an_invalid_id_is_refused() -> None:
    with pytest.raises(ValidationError):
        RequestIds("p").check("", free)
    with pytest.raises(ValidationError):
        RequestIds("p").check(7, free)


def test_an_id_of_a_callers_frame_is_refused_for_a_cancel() -> None:
    ids = RequestIds("p")
    ids.remember(["a", "b"], free)
    for id in ("a", "b"):
        with pytest.raises(
            ValidationError,
            match=f"^the id '{id}' was used for a frame of your own: pass another id",
        ):
            ids.check(id, free)
    assert ids.check("c", free) == "c"


def test_a_callers_frame_may_have_the_id_of_another() -> None:
    ids = RequestIds("p")
    ids.remember(["a"], free)
    ids.remember(["a"], free)
    with pytest.raises(ValidationError):
        ids.check("a", free)


def test_a_callers_frame_with_the_id_of_a_cancel_is_refused_as_a_whole() -> None:
    ids = RequestIds("p")
    with pytest.raises(
        ValidationError,
        match=r"^the id 'b' in this frame is in flight, so that its answer could be taken for the cancel's: use another id$",
    ):
        ids.remember(["a", "p5", "b"], has("b").get)
    assert ids.check("a", free) == "a"
    assert ids.make() == "p1"


def test_the_last_1024_ids_of_callers_frames_are_remembered() -> None:
    ids = RequestIds("p")
    ids.remember([f"own{n}" for n in range(1025)], free)
    assert ids.check("own0", free) == "own0"
    for n in (1, 2, 1024):
        with pytest.raises(ValidationError):
            ids.check(f"own{n}", free)


def test_an_id_that_is_used_again_becomes_the_latest() -> None:
    ids = RequestIds("p")
    for n in range(1024):
        ids.remember([f"own{n}"], free)
    ids.remember(["own0"], free)
    ids.remember(["one more"], free)
    with pytest.raises(ValidationError):
        ids.check("own0", free)
    assert ids.check("own1", free) == "own1"
