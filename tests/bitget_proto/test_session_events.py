"""What a session gives: links are named, secrets are not shown."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from bitget_proto import (
    Dial,
    Ended,
    Hangup,
    LinkHangup,
    LinkTransmit,
    SessionEvent,
    SessionOutput,
    Transmit,
    Up,
    Wait,
)


def test_a_frame_of_a_link_is_a_frame_and_a_hangup_a_hangup() -> None:
    assert isinstance(LinkTransmit(text="ping", link=1), Transmit)
    assert isinstance(LinkHangup(code=1000, reason="asked", link=1), Hangup)
    assert LinkTransmit(text="ping", link=1) != LinkTransmit(text="ping", link=2)


def test_a_hangup_aborts_only_where_it_says_so() -> None:
    assert not LinkHangup(code=1000, reason="asked", link=1).abort


def test_a_frame_names_its_link_and_shows_no_secret() -> None:
    assert repr(LinkTransmit(text="ping", link=7)) == "LinkTransmit(text='ping', id=None, link=7)"
    login = LinkTransmit(text="passphrase", secret=True, link=7)
    assert repr(login) == "LinkTransmit(text=<not shown, 10 characters>, id=None, link=7)"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(login)
    frame = LinkTransmit(text="x", id="1", link=7)
    assert pickle.loads(pickle.dumps(frame)) == frame


def test_a_dial_asks_for_no_correction_unless_it_says_so() -> None:
    assert Dial(link=1) == Dial(link=1, stamp_refused=False)


def test_the_unions_are_closed_and_hold_what_they_say() -> None:
    events, outputs = set(get_args(SessionEvent)), set(get_args(SessionOutput))
    assert outputs - events == {Dial, LinkTransmit, LinkHangup, Wait}
    assert {Up, Ended} < events
    assert len(events) == 12
