"""A secret that is known is in no text; what was hidden looks the same when it is hidden again."""

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
def test_a_frame_of_ones_own_that_was_written_is_written_so_again(text: str) -> None:
    once = own_frame(text)
    assert own_frame(once) == once


@CALMLY
@given(
    st.text(min_size=8, max_size=40).map(lambda text: f"~{text}"),
    st.booleans(),
    st.integers(0, 2**40),
)
def test_a_secret_is_taken_out_of_a_text_with_any_of_its_letters_escaped(
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
    """By its number, which two halves make up beyond 16 bits."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def test_nothing_is_hidden_before_a_login_is_known_nor_what_is_shorter_than_a_secret() -> None:
    secrets = Secrets()
    assert secrets.out_of("a passphrase") == "a passphrase"
    secrets.learn(SignedLogin("of 7 ch", "passphrase", "1700000000", "8 of it."))
    assert secrets.out_of("of 7 ch, a passphrase, 8 of it.") == "of 7 ch, a ***, ***"
