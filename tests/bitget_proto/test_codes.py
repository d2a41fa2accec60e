"""Tests of the exchange's codes and their classes."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_proto import CodeClass, Dialect
from bitget_proto._values.codes import (
    CODES,
    FINAL_AFTER_RESEND,
    NOT_THE_LOGINS_ANSWER,
    NOTES,
    REFUSALS,
    REFUSED_FOR_GOOD,
    STAMP_REFUSED,
)
from bitget_proto.explain import outcome_of

CLASSIC = {
    CodeClass.ACCEPTED: "0",
    CodeClass.NOT_FOUND: "43001 22001 31007 40109 40768 40819 43004 45057 80011 43020 43025 43033 25204",
    CodeClass.FINISHED: "40769 45031 45055 45134 50062",
    CodeClass.NOT_CANCELLABLE: "45056 45125 45126 45024 43002 43003",
    CodeClass.THROTTLED: "45129 70228 429 25004 30006 30007",
    CodeClass.OUTCOME_UNKNOWN: "40010 40725 45001 40910 25001 40200 40604 500 50008",
    CodeClass.RETRY_LATER: "40015 40808 25003 40908",
    CodeClass.BAD_PARAMETERS: "40017 40019 40020 40034 40402 400172 40304 40305 41101",
    CodeClass.PERMISSION: "40014 40018 40022 40023 40025 40026 40038 40084 40085 40301",
    CodeClass.PROTOCOL: "30001 30002 30003 30016",
    CodeClass.LOGIN: "30004 30005 30011 30012 30013 30014 30015 40005 40006 40008 40009 40012",
    CodeClass.GOING_AWAY: "30033",
}
UNIFIED = {
    CodeClass.ACCEPTED: "0",
    CodeClass.NOT_FOUND: "24056 25204",
    CodeClass.NOT_CANCELLABLE: "25102 25106",
    CodeClass.THROTTLED: "429 25004 30006 30007",
    CodeClass.OUTCOME_UNKNOWN: "25000 40010 40725 45001 40910 25001 40200 40604 500 50008",
    CodeClass.RETRY_LATER: "25653 40015 40808 25003 40908",
    CodeClass.BAD_PARAMETERS: "41101",
    CodeClass.PERMISSION: (
        "25006 25007 25008 25012 25013 25245 25620 "
        "40014 40018 40022 40023 40025 40026 40038 40084 40085 40301"
    ),
    CodeClass.PROTOCOL: "25002 30001 30002 30003 30016",
    CodeClass.LOGIN: "30004 30005 30011 30012 30013 30014 30015 40005 40006 40008 40009 40012",
    CodeClass.GOING_AWAY: "30033",
}
TABLES = {Dialect.CLASSIC: CLASSIC, Dialect.UNIFIED: UNIFIED}
"""An independent copy of the exchange's tables: a typo in the source does not pass."""


@pytest.mark.parametrize(
    ("dialect", "code", "code_class"),
    [
        (dialect, code, code_class)
        for dialect, table in TABLES.items()
        for code_class, codes in table.items()
        for code in codes.split()
    ],
)
def test_a_code_has_the_class_that_the_exchanges_table_implies(
    dialect: Dialect, code: str, code_class: CodeClass
) -> None:
    assert CodeClass.of(code, dialect) is code_class


@pytest.mark.parametrize("dialect", Dialect)
def test_the_table_holds_exactly_the_codes_of_the_exchange(dialect: Dialect) -> None:
    written = {code_class: " ".join(codes) for code_class, codes in CODES[dialect].items()}
    assert written == TABLES[dialect]


@pytest.mark.parametrize("dialect", Dialect)
def test_no_code_is_in_two_classes(dialect: Dialect) -> None:
    counted = Counter(code for codes in CODES[dialect].values() for code in codes)
    assert set(counted.values()) == {1}


def test_a_code_that_both_dialects_know_means_the_same() -> None:
    classic, unified = (
        {code: code_class for code_class, codes in CODES[dialect].items() for code in codes}
        for dialect in Dialect
    )
    assert all(classic[code] is unified[code] for code in classic.keys() & unified.keys())


@pytest.mark.parametrize(
    ("code", "dialect"), [("43001", Dialect.UNIFIED), ("25245", Dialect.CLASSIC)]
)
def test_a_code_of_the_other_dialect_is_unlisted(code: str, dialect: Dialect) -> None:
    """The codes are "not guaranteed to be identical", so it might mean something else."""
    assert CodeClass.of(code, dialect) is CodeClass.UNLISTED


def test_every_code_of_the_table_is_in_canonical_form() -> None:
    for codes in (codes for table in CODES.values() for codes in table.values()):
        for code in codes:
            assert code.isascii()
            assert code == str(int(code))


@given(
    st.integers(0, 2**53)
    .map(str)
    .filter(lambda code: all(code not in codes.split() for codes in UNIFIED.values()))
)
def test_a_code_that_is_not_in_the_table_stays_unknown(code: str) -> None:
    assert CodeClass.of(code, Dialect.UNIFIED) is CodeClass.UNLISTED


def test_a_code_that_could_not_be_read_is_unreadable() -> None:
    assert CodeClass.of(None) is CodeClass.UNREADABLE


def test_only_unknown_and_unreadable_have_no_codes() -> None:
    known = {code_class for table in CODES.values() for code_class in table}
    assert set(CodeClass) - known == {CodeClass.UNLISTED, CodeClass.UNREADABLE}


@pytest.mark.parametrize("code_class", CodeClass)
def test_every_class_has_a_meaning_of_one_sentence(code_class: CodeClass) -> None:
    assert code_class.sentence[0].isupper()
    assert code_class.sentence.endswith(".")
    assert next(member for member in CodeClass if member.value == code_class.value) is code_class
    assert pickle.loads(pickle.dumps(code_class)) is code_class
    assert copy.deepcopy(code_class) is code_class


def test_no_two_classes_have_the_same_meaning() -> None:
    assert len({code_class.sentence for code_class in CodeClass}) == len(CodeClass)
    assert len({hash(code_class) for code_class in CodeClass}) > 1


@pytest.mark.parametrize("code_class", CodeClass)
def test_only_classes_that_exclude_an_effect_reject_a_cancel(
    code_class: CodeClass,
) -> None:
    silent = {
        CodeClass.OUTCOME_UNKNOWN,
        CodeClass.RETRY_LATER,
        CodeClass.GOING_AWAY,
        CodeClass.UNLISTED,
        CodeClass.UNREADABLE,
    }
    outcome = (
        "Accepted"
        if code_class is CodeClass.ACCEPTED
        else "Unresolved"
        if code_class in silent
        else "Rejected"
    )
    assert outcome_of(code_class) == outcome
    assert (code_class in REFUSALS) == (outcome == "Rejected")


@pytest.mark.parametrize(
    "code_class",
    [CodeClass.NOT_FOUND, CodeClass.OUTCOME_UNKNOWN, CodeClass.RETRY_LATER, CodeClass.UNLISTED],
)
def test_a_class_that_leaves_the_order_open_advises_a_lookup(code_class: CodeClass) -> None:
    assert "look the order up" in code_class.sentence


def test_not_found_does_not_prove_that_the_order_has_ended() -> None:
    assert "no proof of an end" in CodeClass.NOT_FOUND.sentence
    assert frozenset({CodeClass.FINISHED}) == FINAL_AFTER_RESEND


def test_a_missing_permission_quotes_the_exchanges_page() -> None:
    words = '"Please contact your BD or RM to apply for access permissions" (Cancel Order Channel)'
    assert words in CodeClass.PERMISSION.sentence


def test_only_bad_credentials_or_permissions_refuse_a_login_for_good() -> None:
    permission = [table[CodeClass.PERMISSION] for table in TABLES.values()]
    assert {"30011", "30012", "30015", *" ".join(permission).split()} == REFUSED_FOR_GOOD
    assert not REFUSED_FOR_GOOD & STAMP_REFUSED
    assert not {CodeClass.of(code) for code in REFUSED_FOR_GOOD} & NOT_THE_LOGINS_ANSWER


def test_an_acknowledgement_is_not_described_as_a_cancel() -> None:
    assert "may still fill" in CodeClass.ACCEPTED.sentence


def test_every_note_is_about_a_code_of_the_table() -> None:
    listed = {code for table in CODES.values() for codes in table.values() for code in codes}
    assert set(NOTES) <= listed
    assert all(note.endswith(".") for note in NOTES.values())


@pytest.mark.parametrize("table", [CODES, NOTES])
def test_the_tables_of_codes_are_read_only(table: object) -> None:
    with pytest.raises(TypeError):
        table["0"] = ()  # type: ignore[index]  # deliberate misuse
