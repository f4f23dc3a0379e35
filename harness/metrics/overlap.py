"""Metrics of n-gram overlap with reference texts: BLEU, chrF, ROUGE. The statistics are sacrebleu's and rouge-score's own."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.errors import UsageError
from harness.metrics.contract import HostMetric, Totals, Undefined
from harness.metrics.text import references, texts

__all__ = ["Bleu", "Chrf", "Rouge"]

Kind = Literal["rouge1", "rouge2", "rouge3", "rouge4", "rougeL", "rougeLsum"]


class _Sacrebleu(HostMetric):
    """Base of metrics whose sufficient statistics and final score are both sacrebleu's own."""

    takes_weights: ClassVar[bool] = False

    def _scorer(self) -> Any:
        """Return sacrebleu's metric."""
        raise NotImplementedError

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Return sacrebleu's statistics of each example."""
        scorer = self._scorer()
        rows = []
        for guess, against in zip(texts("output", predictions), references(labels), strict=True):
            # One example at a time: sacrebleu's corpus form wants the same number of references everywhere.
            rows += scorer._extract_corpus_statistics([guess], [[text] for text in against])
        return np.array(rows, np.float64).reshape(-1, len(self.columns()))

    def value(self, totals: Totals) -> float:
        """Return sacrebleu's score of the summed statistics, 0 to 100.

        Raises: Undefined: there is no text at all.
        """
        sums = [int(totals.exact(name)) for name in self.columns()]
        if not any(sums):
            raise Undefined("all texts and all references are empty")
        return float(self._scorer()._compute_score_from_stats(sums).score)


class Bleu(_Sacrebleu):
    """BLEU of the corpus, 0 to 100: sacrebleu's statistics of each example, summed."""

    summary: ClassVar[str] = "brevity penalty x geometric mean of clipped n-gram precisions, n = 1 to 4, of the summed counts"
    source: ClassVar[str] = "sacrebleu.corpus_bleu (Papineni et al. 2002)"

    lowercase: bool = Field(False, description="whether both texts are brought to lower case first")
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = Field("13a", description="sacrebleu's tokenizer")
    smooth_method: Literal["exp", "floor", "add-k", "none"] = Field("exp", description="what an order without matches counts as")
    smooth_value: float | None = Field(None, ge=0, allow_inf_nan=False, description="for floor (0.1) and add-k (1)")
    max_ngram_order: int = Field(4, ge=1, le=16, description="longest n-gram, in words")
    effective_order: bool = Field(False, description="whether orders longer than every text are left out")

    def columns(self) -> tuple[str, ...]:
        """Name sacrebleu's statistics, in its order."""
        orders = range(1, self.max_ngram_order + 1)
        return "length", "reference", *(f"correct{n}" for n in orders), *(f"total{n}" for n in orders)

    def _scorer(self) -> Any:
        return _bleu(
            self.lowercase, self.tokenize, self.smooth_method, self.smooth_value, self.max_ngram_order, self.effective_order
        )


class Chrf(_Sacrebleu):
    """chrF of the corpus, 0 to 100; chrF++ with `word_order: 2`. Of several references the best one of each example."""

    summary: ClassVar[str] = "F-beta of character (and word) n-gram precision and recall, averaged over n, of the summed counts"
    source: ClassVar[str] = "sacrebleu.corpus_chrf (Popovic 2015, 2017)"

    char_order: int = Field(6, ge=1, le=16, description="longest n-gram, in characters")
    word_order: int = Field(0, ge=0, le=16, description="longest n-gram, in words; 2 is chrF++")
    beta: int = Field(2, ge=1, description="recall counts beta times as much as precision")
    lowercase: bool = Field(False, description="whether both texts are brought to lower case first")
    whitespace: bool = Field(False, description="whether white space is part of character n-grams")
    eps_smoothing: bool = Field(False, description="whether empty orders count as 1e-16, as in chrF++.py and NLTK")

    def columns(self) -> tuple[str, ...]:
        """Name sacrebleu's statistics, in its order."""
        orders = range(self.char_order + self.word_order)
        return tuple(f"{what}{n}" for n in orders for what in ("output", "reference", "match"))

    def _scorer(self) -> Any:
        return _chrf(self.char_order, self.word_order, self.beta, self.lowercase, self.whitespace, self.eps_smoothing)


class Rouge(HostMetric):
    """Mean over examples of the ROUGE F measure, 0 to 1, by kind. Of several references the best one of each kind.

    The default tokenizer is rouge-score's: lower case, ASCII letters and digits only, all else parts words. `unicode`
    takes the letters and digits of every script.
    """

    summary: ClassVar[str] = "mean of F1 of n-gram overlap (rouge1, rouge2) or of the longest common subsequence (rougeL)"
    source: ClassVar[str] = "rouge_score.rouge_scorer.RougeScorer (Lin 2004)"

    kinds: tuple[Kind, ...] = Field(("rouge1", "rouge2", "rougeL"), description="which are reported")
    stemmer: bool = Field(False, description="whether English words are brought to their stem by Porter's rules")
    tokenizer: Literal["default", "unicode"] = Field("default", description="ASCII words only, or words of every script")

    @field_validator("kinds")
    @classmethod
    def _some_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("expected one or several different kinds")
        return value

    def columns(self) -> tuple[str, ...]:
        """Name the kinds."""
        return self.kinds

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Return the F measures of each example."""
        scorer = _rouge(self.kinds, self.stemmer, self.tokenizer)
        rows = []
        for guess, against in zip(texts("output", predictions), references(labels), strict=True):
            scores = scorer.score_multi(against, guess)
            rows.append([scores[kind].fmeasure for kind in self.kinds])
        return np.array(rows, np.float64).reshape(-1, len(self.kinds))

    def value(self, totals: Totals) -> dict[str, float]:
        """Return the mean of each kind."""
        return {kind: totals.mean(kind) for kind in self.kinds}


@lru_cache
def _bleu(lowercase: bool, tokenize: str, method: str, value: float | None, order: int, effective: bool) -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as exc:
        raise UsageError("bleu needs sacrebleu: pip install 'exact-harness[language]'") from exc
    return BLEU(
        lowercase=lowercase, force=True, tokenize=tokenize, smooth_method=method, smooth_value=value, max_ngram_order=order,
        effective_order=effective,
    )  # fmt: skip


@lru_cache
def _chrf(chars: int, words: int, beta: int, lowercase: bool, whitespace: bool, smoothing: bool) -> Any:
    try:
        from sacrebleu.metrics import CHRF
    except ImportError as exc:
        raise UsageError("chrf needs sacrebleu: pip install 'exact-harness[language]'") from exc
    return CHRF(
        char_order=chars, word_order=words, beta=beta, lowercase=lowercase, whitespace=whitespace, eps_smoothing=smoothing
    )  # fmt: skip


@lru_cache
def _rouge(kinds: tuple[str, ...], stemmer: bool, tokenizer: str) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as exc:
        raise UsageError("rouge needs rouge-score: pip install 'exact-harness[language]'") from exc
    return RougeScorer(list(kinds), use_stemmer=stemmer, tokenizer=_UnicodeWords(stemmer) if tokenizer == "unicode" else None)


class _UnicodeWords:
    """A tokenizer for rouge-score: lower case, runs of letters, digits and marks of any script."""

    def __init__(self, stemmer: bool) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        letters = (c if unicodedata.category(c)[0] in "LMN" else " " for c in text.lower())
        words = "".join(letters).split()
        return [self._stem(word) if len(word) > 3 else word for word in words] if self._stem else words
