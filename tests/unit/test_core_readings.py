"""Readings of plates: how alike two are."""

import pytest

from anonymizer.core.readings import edits, folded, text_similarity


def test_text_similarity_is_symmetric_and_bounded():
    for a, b in (("ABC", "ABC"), ("ABC", "ABD"), ("", "ABC"), ("", ""), ("ABCD", "DCBA")):
        assert text_similarity(a, b) == text_similarity(b, a)
        assert 0.0 <= text_similarity(a, b) <= 1.0
    assert text_similarity("ABC", "abc") == 1.0


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [("KR58WTX", "KR-58 WTX", 1.0), ("O0I1", "0011", 1.0), ("ABCD", "XABCD", 0.8), ("ABCD", "WXYZ", 0.0)],
)
def test_separators_and_confused_characters_do_not_count(a: str, b: str, alike: float) -> None:
    assert text_similarity(a, b) == pytest.approx(alike)


def test_folding_keeps_letters_and_digits() -> None:
    assert folded("b-sz 12") == "85212"
    assert edits("ABC", "") == 3
