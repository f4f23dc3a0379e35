"""Metrics of a text against one or several reference texts: error rates of speech, answers to questions.

Strings are UTF-8; bytes that are not are read as U+FFFD, so that a model that stops within a character is still scored.
References are a string per example, [B], or several, [B, R]; of several, empty ones are padding and not references.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.errors import ShapeError
from harness.metrics.contract import HostMetric, Proportion, Totals, ratio

__all__ = [
    "CharacterErrorRate", "TextExactMatch", "TokenF1", "WordErrorRate", "answer_tokens", "edit_distance", "references", "texts",
]  # fmt: skip

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


def edit_distance(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """Return the least number of substitutions, insertions and deletions between two sequences.

    The bit-parallel form of the dynamic programme (Myers 1999, in Hyyro's notation of 2003): a column of differences is
    two integers with one bit per element of `reference`, and a step along `hypothesis` is a dozen operations on them.

    >>> edit_distance("kitten", "sitting"), edit_distance(["a", "b"], []), edit_distance([], "xy")
    (3, 2, 2)
    """
    size = len(reference)
    if not size:
        return len(hypothesis)
    where: dict[Hashable, int] = {}
    for place, item in enumerate(reference):
        where[item] = where.get(item, 0) | 1 << place
    full, last = (1 << size) - 1, 1 << (size - 1)
    rises, falls, distance = full, 0, size  # of the column: where it grows, or shrinks, by one downwards
    for item in hypothesis:
        equal = where.get(item, 0)
        level = (((equal & rises) + rises) ^ rises) | equal | falls
        right_up = falls | ~(level | rises) & full
        right_down = level & rises
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = right_up << 1 | 1
        right_down <<= 1
        rises = (right_down | ~(level | right_up)) & full
        falls = right_up & level & full
    return distance


class _ErrorRate(HostMetric):
    """Edits over the length of the reference, both summed over all examples."""

    lowercase: bool = Field(False, description="whether both texts are brought to lower case first")
    unicode: Form | None = Field(None, description="Unicode normal form that both texts are brought to first")

    def columns(self) -> tuple[str, ...]:
        """Name the two sums."""
        return "edits", "length"

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Return edits and reference length of each example."""
        pairs = zip(self._sequences("label", labels), self._sequences("output", predictions), strict=True)
        distances = [(edit_distance(reference, guess), len(reference)) for reference, guess in pairs]
        return np.array(distances, np.float64).reshape(-1, 2)

    def value(self, totals: Totals) -> float:
        """Return edits over length."""
        return ratio(totals.exact("edits"), totals.exact("length"), "all references are empty")

    def _sequences(self, what: str, array: np.ndarray) -> list[Sequence[Hashable]]:
        """Cut each example into what is compared."""
        return [self.cut(self._normal(text)) for text in texts(what, array)]

    def cut(self, text: str) -> Sequence[Hashable]:
        """Return the elements of a text."""
        raise NotImplementedError

    def _normal(self, text: str) -> str:
        text = unicodedata.normalize(self.unicode, text) if self.unicode else text
        return text.lower() if self.lowercase else text


class WordErrorRate(_ErrorRate):
    """Word errors of all examples over the number of reference words. May exceed 1.

    Words are what stands between white space. With `ids`, label and output are token ids [B, T] and [B, U] instead, each
    id a word; ids in `pad` are taken out wherever they stand.
    """

    summary: ClassVar[str] = "(substitutions + insertions + deletions) / reference words, each summed over all examples"
    source: ClassVar[str] = "jiwer.wer; torchmetrics.text.WordErrorRate"

    ids: bool = Field(False, description="whether output and label are token ids, not strings")
    pad: tuple[int, ...] = Field((), description="ids that are taken out before comparing; one, or a list")

    @field_validator("pad", mode="before")
    @classmethod
    def _one_pad(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    def cut(self, text: str) -> Sequence[Hashable]:
        """Return the words."""
        return text.split()

    def _sequences(self, what: str, array: np.ndarray) -> list[Sequence[Hashable]]:
        if not self.ids:
            return super()._sequences(what, array)
        if array.ndim != 2 or array.dtype.kind not in "iu":
            raise ShapeError(f"ids: true needs token ids, integers [B, T], found {what} {array.dtype} {_shape(array)}")
        pad = set(self.pad)
        return [[item for item in line if item not in pad] for line in array.tolist()]


class CharacterErrorRate(_ErrorRate):
    """Character errors of all examples over the number of reference characters. May exceed 1.

    Characters are code points, white space at either end apart; `unicode: NFC` composes them first.
    """

    summary: ClassVar[str] = "(substitutions + insertions + deletions) / reference characters, each summed over all examples"
    source: ClassVar[str] = "jiwer.cer"

    def cut(self, text: str) -> Sequence[Hashable]:
        """Return the characters."""
        return text.strip()


class _Answer(HostMetric):
    """Base of metrics of a short answer, compared after SQuAD's normalisation, with the best of the references."""

    spread: ClassVar[bool] = True

    def columns(self) -> tuple[str, ...]:
        """Name the score."""
        return ("score",)

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Return the best score of each example."""
        pairs = zip(texts("output", predictions), references(labels), strict=True)
        best = [max(self.score(answer_tokens(text), answer_tokens(guess)) for text in known) for guess, known in pairs]
        return np.array(best, np.float64).reshape(-1, 1)

    def score(self, reference: list[str], guess: list[str]) -> float:
        """Compare two normalised answers."""
        raise NotImplementedError

    def value(self, totals: Totals) -> float:
        """Return the mean score."""
        return totals.mean("score")

    def standard_error(self, totals: Totals) -> float | None:
        """Return the standard error of the mean."""
        return totals.mean_error("score")


class TokenF1(_Answer):
    """Mean F1 of the words of answer and reference, 0 to 1. Where either has no word left: 1 if both have none, else 0."""

    summary: ClassVar[str] = "mean over examples of max over references of 2 |common words| / (|answer| + |reference|)"
    source: ClassVar[str] = "SQuAD 2.0 evaluation script, f1"

    def score(self, reference: list[str], guess: list[str]) -> float:
        """Return the F1 of two bags of words."""
        if not reference or not guess:
            return float(reference == guess)
        return 2 * (Counter(reference) & Counter(guess)).total() / (len(reference) + len(guess))


class TextExactMatch(_Answer):
    """Share of examples whose answer equals a reference after normalisation."""

    summary: ClassVar[str] = "mean over examples of [normalised answer = a normalised reference]"
    source: ClassVar[str] = "SQuAD evaluation script, exact"

    def score(self, reference: list[str], guess: list[str]) -> float:
        """Return 1.0 where the two are equal."""
        return float(reference == guess)

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are equal, of how many."""
        return totals.proportion(totals.exact("score"))


ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_tokens(text: str) -> list[str]:
    """Normalise an answer as SQuAD does: lower case, without ASCII punctuation and English articles; its words.

    >>> answer_tokens("The  Eiffel-Tower, a tower!")
    ['eiffeltower', 'tower']
    """
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def texts(what: str, array: np.ndarray) -> list[str]:
    """Decode one string per example.

    Raises: ShapeError: they are no strings, or not one per example.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "OSU" or any(size != 1 for size in array.shape[1:]):
        raise ShapeError(
            f"expected one string per example, [B], found {what} {array.dtype} {_shape(array)}; "
            f"bind another with output: or label:"
        )
    return [_decode(text) for text in array.reshape(-1).tolist()]


def references(array: np.ndarray) -> list[list[str]]:
    """Decode one or several references per example, at least one each.

    Raises: ShapeError: they are no strings, or of another shape.
    """
    array = np.asarray(array)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return [[text] for text in texts("label", array)]
    if array.dtype.kind not in "OSU" or array.ndim != 2 or not array.shape[1]:
        raise ShapeError(f"expected reference strings [B] or [B, R], found label {array.dtype} {_shape(array)}")
    return [[_decode(text) for text in line if text] or [""] for line in array.tolist()]


def _decode(text: Any) -> str:
    return text if isinstance(text, str) else bytes(text).decode("utf-8", errors="replace")


def _shape(array: np.ndarray) -> str:
    return "[" + ", ".join(["B", *map(str, array.shape[1:])]) + "]"
