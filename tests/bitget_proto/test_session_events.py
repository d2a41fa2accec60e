"""Outputs of a session: they name their link and show no secrets."""

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
    RestCancel,
    SessionEvent,
    SessionOutput,
    Transmit,
    Up,
    Wait,
)


def test_link_outputs_are_subclasses_of_connection_outputs() -> None:
    assert isinstance(LinkTransmit(text="ping", link=1), Transmit)
    assert isinstance(LinkHangup(code=1000, reason="asked", link=1), Hangup)
    assert LinkTransmit(text="ping", link=1) != LinkTransmit(text="ping", link=2)


def test_a_hangup_does_not_abort_by_default() -> None:
    assert not LinkHangup(code=1000, reason="asked", link=1).abort


def test_the_repr_of_a_frame_names_its_link_and_shows_no_secret() -> None:
    assert repr(LinkTransmit(text="ping", link=7)) == "LinkTransmit(text='ping', ids=(), link=7)"
    login = LinkTransmit(text="passphrase", secret=True, link=7)
    assert repr(login) == "LinkTransmit(text=<not shown, 10 characters>, ids=(), link=7)"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(login)
    frame = LinkTransmit(text="x", ids=("1",), link=7)
    assert pickle.loads(pickle.dumps(frame)) == frame


def test_a_dial_does_not_ask_for_a_time_correction_by_default() -> None:
    assert Dial(link=1) == Dial(link=1, stamp_refused=False)


def test_the_unions_have_the_expected_members() -> None:
    events, outputs = set(get_args(SessionEvent)), set(get_args(SessionOutput))
    assert outputs - events == {Dial, LinkTransmit, LinkHangup, RestCancel, Wait}
    assert {Up, Ended} < events
    assert len(events) == 16
