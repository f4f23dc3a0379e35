"""Every metric of the registry has a label, made of options that it has."""

from __future__ import annotations

import pytest

from harness.metrics import METRICS, load
from harness.metrics.labels import FORMS, OPTION, label_words


def test_forms_are_of_metrics_that_there_are() -> None:
    assert set(FORMS) <= set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_label_is_short_plain_words(name: str) -> None:
    fields = load(name).model_fields
    assert {place[1] for place in OPTION.finditer(FORMS.get(name, ""))} <= set(fields)
    (words, *_) = label_words(name, {field: info.default for field, info in fields.items() if not info.is_required()})
    assert 2 <= len(words) <= 45 and not set(words) & set("_{}(") and words == " ".join(words.split())
