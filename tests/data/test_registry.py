"""The table of formats: what a job may name, and that every opener is there."""

import importlib
import inspect
import typing

import pytest

from harness.data import FORMATS, open_source
from harness.errors import JobError
from harness.job.specs import DataSpec


def test_the_table_has_the_formats_that_a_job_may_name():
    assert set(FORMATS) == set(typing.get_args(typing.get_type_hints(DataSpec)["format"]))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_opened_by_one_contract(name):
    module, _, function = FORMATS[name].opener.partition(":")
    opener = getattr(importlib.import_module(f"harness.data.{module}"), function)
    assert list(inspect.signature(opener).parameters) == ["origin"]


def test_an_unknown_format_is_refused_by_name():
    with pytest.raises(JobError, match=r"data.format: unknown format 'parket': did you mean 'parquet'\? valid: csv, "):
        open_source("parket", [])
