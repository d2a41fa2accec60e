"""Tests of redaction: known secrets are hidden, and hiding twice changes nothing."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bitget_proto import SignedLogin
from bitget_proto._trace.trace_redaction import Secrets, own_frame

CALMLY = settings(deadline=None, derandomize=True, database=None)


@CALMLY
@given(
    st.one_of(
        st.text(),
        st.dictionaries(st.sampled_from(["op", "key", "timestamp", "x"]), st.text()).map(
            json.dumps
        ),
    )
)
def test_hiding_secrets_of_a_callers_frame_is_idempotent(text: str) -> None:
    once = own_frame(text)
    assert own_frame(once) == once


@CALMLY
@given(
    st.text(min_size=8, max_size=40).map(lambda text: f"~{text}"),
    st.booleans(),
    st.integers(0, 2**40),
)
def test_a_secret_is_hidden_with_any_of_its_letters_escaped(
    secret: str, readable: bool, escaped: int
) -> None:
    secrets = Secrets()
    secrets.learn(SignedLogin("key", secret, "1700000000", "sign"))
    spelled = "".join(
        json.dumps(char, ensure_ascii=not readable)[1:-1]
        if escaped >> at & 1 == 0
        else escape(char)
        for at, char in enumerate(secret)
    )
    assert json.loads(f'"{spelled}"') == secret
    assert secrets.out_of(f"<{spelled}>") == "<***>"
    assert secrets.out_of("nothing of it") == "nothing of it"


def escape(char: str) -> str:
    """A `\\u` escape; a surrogate pair beyond 16 bits."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def test_only_known_secrets_of_sufficient_length_are_hidden() -> None:
    secrets = Secrets()
    assert secrets.out_of("a passphrase") == "a passphrase"
    secrets.learn(SignedLogin("of 7 ch", "passphrase", "1700000000", "8 of it."))
    assert secrets.out_of("of 7 ch, a passphrase, 8 of it.") == "of 7 ch, a ***, ***"
