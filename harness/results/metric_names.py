"""What the numbers of a run are called: the key in the files, the label on the screen, the name that exporters write.

A key is found by its label too. Exporters' names hold letters, digits, `_-. :` and `/` alone, as MLflow and others ask, and
can be read back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from harness.errors import UsageError, nearest
from harness.metrics.labels import label_words
from harness.names.metric_aliases import METRIC_ALIASES

__all__ = ["exported_names", "exported_parts", "exporter_name", "find_key", "key_of", "labels", "number_labels", "with_metrics"]

Number = tuple[str, str]  # a metric's key, and the name of one of its numbers; "" where it is one number

BOUND_LABELS = {"low": "at least", "high": "at most"}
PLAIN = re.compile(r"[A-Za-z0-9_\-. ]+")
ESCAPE = re.compile(r":([0-9a-f]{2})")


def labels(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a document's metrics, by key; the keys themselves where a version before labels wrote it."""
    definitions = document.get("definitions") or {}
    return {key: definitions.get(key, {}).get("label", key) for key in document["metrics"]}


def number_labels(document: Mapping[str, Any]) -> dict[Number, str]:
    """Return what each number of a document is called; KEY/NAME where two would be called alike.

    >>> document = {"definitions": {"precision": {"label": "precision"}}, "metrics": {"precision": {"value": {"cat": 1.0}}}}
    >>> number_labels(document)
    {('precision', 'cat'): 'precision cat'}
    """
    known = labels(document)
    texts = {
        (key, name): " ".join(filter(None, (known[key], _bound_label(document["metrics"][key], name))))
        for key, name in _numbers(document)
    }
    counts = Counter(texts.values())
    return {(key, name): "/".join(filter(None, (key, name))) if counts[text] > 1 else text for (key, name), text in texts.items()}


def key_of(wanted: str, known: Mapping[str, str]) -> str | None:
    """Return the key of a metric that is asked for by its key, its label, or what is short for its key; None for no such.

    >>> key_of("top 3", {"top_k": "top 3"}), key_of("f1", {"f_beta": "f1 macro"}), key_of("f1", {"top_k": "top 3"})
    ('top_k', 'f_beta', None)
    >>> key_of("new/f1", {"old/f_beta": "old/f1 macro", "new/f_beta": "new/f1 macro"})
    'new/f_beta'
    """
    by_label = {label: key for key, label in known.items()}
    model, slash, short = wanted.rpartition("/")
    alias = f"{model}{slash}{METRIC_ALIASES.get(short, short)}"
    return next((key for key in (wanted, by_label.get(wanted), alias) if key in known), None)


def find_key(wanted: str, known: Mapping[str, str], asking: str) -> str:
    """Return the key of a metric; see `key_of`.

    Args:
      wanted: what the user wrote.
      known: labels of the metrics that can be asked for, by key.
      asking: the beginning of the message where none of them is meant.
    Raises: UsageError: none is.
    """
    if (key := key_of(wanted, known)) is None:
        raise UsageError(f"{asking}: {nearest(wanted, list(dict.fromkeys([*known, *known.values()])))}")
    return key


def with_metrics(document: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return a document, or one of its slices, with some of its metrics."""
    chosen = dict(document)
    for section in ("metrics", "intervals", "definitions"):
        if section in document:
            chosen[section] = {key: entry for key, entry in document[section].items() if key in keys}
    if "slices" in document:
        chosen["slices"] = [with_metrics(part, keys) for part in document["slices"]]
    return chosen


def exported_names(document: Mapping[str, Any]) -> dict[Number, str]:
    """Return the exporters' name of each number of a document; no two are alike.

    It is made of the label's words: `f1/macro`, `precision/cat`, with several models `left/f1/macro`; of key and name where
    two would be alike.
    """
    words = {key: _words(document, key, label) for key, label in labels(document).items()}
    parts = {(key, name): (*words[key], *filter(None, [name])) for key, name in _numbers(document)}
    while (counts := Counter(parts.values())).total() > len(counts):  # a key may be what another's label is
        alike = [number for number, own in parts.items() if counts[own] > 1]
        parts |= {(key, name): (key, *filter(None, [name])) for key, name in alike}
    return {number: exporter_name(*own) for number, own in parts.items()}


def exporter_name(*parts: str) -> str:
    """Write the parts of a name as one that exporters take; `exported_parts` reads it.

    A byte of UTF-8 that is not allowed is `:` and two hexadecimal digits, and so are the dots of a part that is `.` or
    `..`, for names are paths to some; `:` alone is an empty part.

    >>> exporter_name("f1", "macro"), exporter_name("precision", "cat & dog/50 %"), exporter_name("recall", "")
    ('f1/macro', 'precision/cat :26 dog:2f50 :25', 'recall/:')
    """
    return "/".join(map(_escaped, parts))


def exported_parts(name: str) -> tuple[str, ...]:
    """Return the parts that a name was made of.

    Raises: ValueError: `exporter_name` makes no such name.

    >>> exported_parts("precision/cat :26 dog:2f50 :25")
    ('precision', 'cat & dog/50 %')
    """
    return tuple(_unescaped(part) for part in name.split("/")) if name else ()


def _escaped(part: str) -> str:
    if not part.strip("."):
        return "".join(":2e" for _ in part) or ":"
    return "".join(
        letter if PLAIN.fullmatch(letter) else "".join(f":{byte:02x}" for byte in letter.encode("utf-8", "surrogatepass"))
        for letter in part
    )


def _unescaped(part: str) -> str:
    if part == ":":
        return ""
    raw = ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), part)
    return raw.encode("latin-1").decode("utf-8", "surrogatepass")


def _numbers(document: Mapping[str, Any]) -> Iterator[Number]:
    """Name the numbers of a document; a table, or a text, counts for one."""
    for key, entry in document["metrics"].items():
        value = entry["value"]
        if isinstance(value, Mapping) and "columns" not in value:
            yield from ((key, name) for name in value)
        else:
            yield key, ""


def _bound_label(entry: Mapping[str, Any], name: str) -> str:
    return BOUND_LABELS.get(name, name) if "bounds" in entry else name


def _words(document: Mapping[str, Any], key: str, label: str) -> tuple[str, ...]:
    """Return the words of a metric's label; the key where that is the label."""
    definition = (document.get("definitions") or {}).get(key) or {}
    words = label_words(definition.get("metric") or definition.get("python", ""), definition.get("options") or {})
    model = definition.get("model")
    text = f"{model}/{' '.join(words)}" if model else " ".join(words)
    if text != label:
        words = (key.removeprefix(f"{model}/") if model else key,)
    return (model, *words) if model else words
