"""Language metrics: against sacrebleu and rouge-score on the whole corpus, or by hand."""

import random
from fractions import Fraction

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from harness.errors import JobError, ShapeError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Undefined
from harness.metrics.overlap import Bleu, Chrf, Rouge
from harness.metrics.text import CharacterErrorRate, TextExactMatch, TokenF1, WordErrorRate, edit_distance
from tests.metrics.sums import host_totals, strings

# output, two references; the second may be missing. With empty, repeated, accented, Chinese and emoji texts.
CORPUS = [
    ("The dog bit the man.", "The dog bit the man.", "The dog had bitten the man."),
    ("It wasn't surprising.", "It was not unexpected.", "No one was surprised."),
    ("The man had just bitten him.", "The man bit him first.", "The man had bitten the dog."),
    ("", "An answer was expected here.", ""),
    ("the the the the the the the", "the cat is on the mat", "there is a cat on the mat"),
    ("Über die Straße ging é ein Café", "Über die Straße ging ein Café", ""),
    ("猫坐在垫子上。", "猫在垫子上。", "垫子上有一只猫。"),
    ("I 💚 it 100%, really!", "I 💚💚 it 100 %, truly!", ""),
    ("Prices rose by 3.5 per cent in May 2019", "prices rose 3.5 % in May, 2019", "In May 2019 prices rose by 3.5 per cent"),
    ("one", "one two three four five six seven eight nine ten", "ten"),
    ("He went home because he was tired .", "He was tired, so he went home.", "Being tired he went home early today."),
]
OUTPUT = [line[0] for line in CORPUS]
FIRST = [line[1] for line in CORPUS]
SECOND = [line[2] or None for line in CORPUS]  # sacrebleu's way to say that there is none


def both(metric):
    """The value with one reference, and with two."""
    one = host_totals(metric, strings(FIRST), strings(OUTPUT))
    two = host_totals(metric, strings([list(line[1:]) for line in CORPUS]), strings(OUTPUT))
    return metric.value(one), metric.value(two)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lowercase": True, "tokenize": "intl"},
        {"tokenize": "zh", "smooth_method": "floor", "smooth_value": 0.25},
        {"tokenize": "char", "max_ngram_order": 2, "smooth_method": "add-k"},
        {"tokenize": "none", "smooth_method": "none", "effective_order": True},
    ],
)
def test_bleu_is_sacrebleus(options):
    oracle = sacrebleu.metrics.BLEU(**options)
    expected = (oracle.corpus_score(OUTPUT, [FIRST]).score, oracle.corpus_score(OUTPUT, [FIRST, SECOND]).score)
    assert both(Bleu(**options)) == expected  # the same statistics, the same function: the same bits
    assert expected[0] > 5 and expected[0] != expected[1]


@pytest.mark.parametrize(
    "options", [{}, {"word_order": 2}, {"lowercase": True, "whitespace": True, "beta": 1}, {"eps_smoothing": True}]
)
def test_chrf_is_sacrebleus(options):
    oracle = sacrebleu.metrics.CHRF(**options)
    expected = (oracle.corpus_score(OUTPUT, [FIRST]).score, oracle.corpus_score(OUTPUT, [FIRST, SECOND]).score)
    assert both(Chrf(**options)) == expected
    assert expected[0] > 5 and expected[0] != expected[1]


def test_bleu_of_nothing_is_undefined():
    with pytest.raises(Undefined, match="empty"):
        Bleu().value(host_totals(Bleu(), strings(["", ""]), strings(["", ""])))
    assert Bleu().value(host_totals(Bleu(), strings(["a b c d"]), strings([""]))) == 0.0


def test_bleu_and_chrf_take_no_weights():
    assert not Bleu.takes_weights and not Chrf.takes_weights and Rouge.takes_weights


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_is_rouge_scores(stemmer):
    kinds = ["rouge1", "rouge2", "rougeL"]
    oracle = RougeScorer(kinds, use_stemmer=stemmer)
    one, two = both(Rouge(stemmer=stemmer))
    for kind in kinds:
        scores = [oracle.score(reference, text)[kind].fmeasure for text, reference, _ in CORPUS]
        best = [max(oracle.score(reference, text)[kind].fmeasure for reference in known if reference) for text, *known in CORPUS]
        assert one[kind] == float(sum(map(Fraction, scores)) / len(CORPUS))  # rounded once
        assert two[kind] == float(sum(map(Fraction, best)) / len(CORPUS)) > one[kind]


def test_rouge_default_drops_other_scripts_and_unicode_keeps_them():
    labels, predictions = strings(["кошка на ковре"]), strings(["Кошка, под ковром на ковре"])
    assert Rouge(kinds=["rouge1"]).value(host_totals(Rouge(kinds=["rouge1"]), labels, predictions)) == {"rouge1": 0.0}
    metric = Rouge(kinds=["rouge1", "rougeL"], tokenizer="unicode")
    # 3 of 5 words of the output, 3 of 3 of the reference: F = 2 * 0.6 / 1.6
    assert metric.value(host_totals(metric, labels, predictions)) == pytest.approx({"rouge1": 0.75, "rougeL": 0.75}, rel=1e-15)


def test_edit_distance_agrees_with_the_plain_table():
    def table(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            diagonal, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
        return row[-1]

    draw = random.Random(3)
    for _ in range(500):
        # more than 64 at times: several machine words
        a, b = ([draw.choice("abc") for _ in range(draw.choice([0, 1, 5, 64, 65, 130]))] for _ in range(2))
        assert edit_distance(a, b) == table(a, b)


def test_word_errors():
    labels = strings(["the cat sat on the mat", "hello", "", "a  b\tc"])
    predictions = strings(["the cat sit on mat", "", "two words", "a b c"])
    # 1 substitution and 1 deletion; 1 deletion; 2 insertions; white space is no error. 6 + 1 + 0 + 3 words
    assert WordErrorRate().value(host_totals(WordErrorRate(), labels, predictions)) == 5 / 10
    assert WordErrorRate().value(host_totals(WordErrorRate(), strings(["A b"]), strings(["a b"]))) == 0.5
    lower = WordErrorRate(lowercase=True)
    assert lower.value(host_totals(lower, strings(["A b"]), strings(["a b"]))) == 0.0


def test_word_errors_of_ids():
    labels = np.array([[5, 6, 7, 0, 0], [8, 9, 0, 0, 0]])
    predictions = np.array([[5, 7, 0], [8, 8, -1]])
    metric = WordErrorRate(ids=True, pad=[0, -1])
    assert metric.value(host_totals(metric, labels, predictions)) == 2 / 5
    assert WordErrorRate(ids=True, pad=0).pad == (0,)
    with pytest.raises(ShapeError, match=r"label float64 \[B, 5\]"):
        metric.host_terms(labels.astype(float), predictions)


def test_character_errors():
    labels, predictions = strings(["Café", "naïve 💚", " ab "]), strings(["Cafe\u0301", "naive 💚", "ab"])
    # é as one code point against e and an accent: 2 edits; ï: 1; white space at the ends is no error. 4 + 7 + 2
    assert CharacterErrorRate().value(host_totals(CharacterErrorRate(), labels, predictions)) == 3 / 13
    composed = CharacterErrorRate(unicode="NFC")
    assert composed.value(host_totals(composed, labels, predictions)) == 1 / 13


def test_error_rates_without_reference_words_are_undefined():
    for metric in (WordErrorRate(), CharacterErrorRate()):
        with pytest.raises(Undefined, match="all references are empty"):
            metric.value(host_totals(metric, strings(["", " "]), strings(["a", ""])))


def test_answers():
    labels = strings(
        [["The Eiffel Tower", "Eiffel tower, Paris"], ["42", ""], ["the", ""], ["an apple", ""], ["red red blue", ""]]
    )
    predictions = strings(["eiffel tower", "forty-two", "", "apple!", "red blue blue"])
    # equal to the first reference; nothing in common; both empty after normalisation; equal; 2 of 3 words on either side
    assert TokenF1().value(host_totals(TokenF1(), labels, predictions)) == pytest.approx((1 + 0 + 1 + 1 + 2 / 3) / 5, rel=1e-15)
    assert TextExactMatch().value(host_totals(TextExactMatch(), labels, predictions)) == 3 / 5


def test_an_answer_that_is_empty_on_one_side_scores_nothing():
    assert TokenF1().value(host_totals(TokenF1(), strings(["x", ""]), strings(["", "x"]))) == 0.0


def test_bytes_that_are_no_utf8_are_still_scored():
    broken = np.array(["caf\u00e9".encode()[:-1]], dtype=object)
    assert CharacterErrorRate().value(host_totals(CharacterErrorRate(), strings(["café"]), broken)) == 1 / 4


def test_shapes_are_refused_by_name():
    with pytest.raises(ShapeError, match=r"found output float32 \[B\]"):
        Bleu().host_terms(strings(["a"]), np.zeros(1, np.float32))
    with pytest.raises(ShapeError, match=r"found label object \[B, 2\]"):
        WordErrorRate().host_terms(strings([["a", "b"]]), strings(["a"]))
    with pytest.raises(ShapeError, match=r"reference strings \[B\] or \[B, R\], found label object \[B, 1, 2\]"):
        Bleu().host_terms(strings([[["a", "b"]]]), strings(["a"]))


def test_options_are_checked_when_the_job_is_read():
    with pytest.raises(JobError, match="tokenize"):
        make([MetricSpec(name="bleu", options={"tokenize": "flores200"})])
    with pytest.raises(JobError, match="different kinds"):
        make([MetricSpec(name="rouge", options={"kinds": []})])
