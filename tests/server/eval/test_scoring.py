"""Metrics give what the benchmarks' own evaluation gives on cases worked out by hand."""

from __future__ import annotations

import pytest

from server.eval.scoring import anls, choice, exact, relaxed, vqa_accuracy, vqa_words


@pytest.mark.parametrize(
    ("answer", "agreeing", "worth"),
    [("nokia", 10, 1.0), ("nokia", 4, 1.0), ("nokia", 3, 0.9), ("nokia", 2, 0.6),
     ("nokia", 1, 0.3), ("nokia", 0, 0.0)],
)  # fmt: skip
def test_vqa_accuracy_by_how_many_of_ten_people_agree(
    answer: str, agreeing: int, worth: float
) -> None:
    people = ["Nokia"] * agreeing + ["samsung"] * (10 - agreeing)
    assert vqa_accuracy(answer, people) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("text", "words"),
    [("The Dog", "dog"), ("two  cats.", "2 cats"), ("dont", "don't"), ("1,000", "1000"),
     ("yes!", "yes"), ("rock'n'roll", "rock'n'roll"), ("3.5", "3.5"), ("x/b", "x b"),
     ("John's", "john 's")],
)  # fmt: skip
def test_vqa_normalisation(text: str, words: str) -> None:
    assert vqa_words(text) == words


def test_anls_is_one_minus_the_share_of_edits_above_one_half() -> None:
    assert anls("The Globe ", ["the globe"]) == 1.0
    assert anls("globe", ["glove"]) == pytest.approx(0.8)
    assert anls("abcd", ["abzz"]) == 0.0  # half would have to change
    assert anls("abcde", ["abcxy"]) == pytest.approx(0.6)
    assert anls("x", ["nothing", "x"]) == 1.0
    assert anls("", ["word"]) == 0.0


@pytest.mark.parametrize(
    ("answer", "right", "worth"),
    [("14", "14", 1), ("14.6", "14", 1), ("14.8", "14", 0), ("5%", "0.05", 1), ("62%", "64%", 1),
     ("Yes", "yes", 1), ("Germany.", "Germany", 1), ("France", "Germany", 0), ("0", "0", 1),
     ("1", "0", 0), ("about 14", "14", 0)],
)  # fmt: skip
def test_relaxed_accuracy(answer: str, right: str, worth: int) -> None:
    assert relaxed(answer, [right]) == worth


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("B", "B"), ("(B) cotton", "B"), ("B. cotton", "B"), ("The answer is (C).", "C"),
     ("**D**", "D"), ("I'd say A", "A"), ("cotton", None), ("", None)],
)  # fmt: skip
def test_choice_takes_the_letter_named_first(answer: str, letter: str | None) -> None:
    for right in "ABCD":
        assert choice(answer, [right]) == float(right == letter)


def test_exact_ignores_case_and_a_full_stop() -> None:
    assert exact(" Forty-Two. ", ["42", "forty-two"]) == 1
    assert exact("42", ["420"]) == 0
