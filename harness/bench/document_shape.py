"""The shape of bench.json: the types and bounds of every value that is computed with when it is read again. Pure.

Keys that are not named here, of later versions, are let through. docs/schemas/bench.json says the same of what is written.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["check_document", "check_trial"]

MOST = 1e18  # of a number: beyond it sums and ratios of a few would not be finite
Number = Annotated[float, Field(ge=-MOST, le=MOST)]
Positive = Annotated[float, Field(gt=0, le=MOST)]
Count = Annotated[int, Field(ge=0, le=int(MOST))]
Size = Annotated[int, Field(ge=1, le=int(MOST))]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Shape(BaseModel):
    """A part of the document; 1 is no text, and "1" no number."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Account(_Shape):
    rank: Count
    host: str = ""
    examples: Count = 0
    peak_bytes: Count | None = None
    devices: list[str] = []
    seconds: dict[str, Number] = {}
    split_s: dict[str, Number] = {}


class _Attempt(_Shape):
    elapsed_s: Positive
    ranks: list[_Account]
    comm: str | None = None
    schedule: str | None = None
    examples_per_s: Number | None = None


class _Plan(_Shape):
    examples: Count
    chunk_size: Size


class _Energy(_Shape):
    reason: str | None = None


class _Cost(_Shape):
    joules: Number | None = None
    money: Number | None = None
    gaps: list[str] = []
    energy: dict[str, _Energy] = {}


class _Run(_Shape):
    attempt: _Attempt
    plan: _Plan
    cost: _Cost | None = None


class _Sample(_Shape):
    examples: Count
    seconds: Annotated[float, Field(ge=0, le=MOST)]


class _Limit(_Shape):
    samples: list[_Sample] = []


class _RankLimits(_Shape):
    rank: Count
    forward: _Limit | None = None
    reading: _Limit | None = None
    sum_s: list[Number] = []


class _Limits(_Shape):
    elapsed_s: Number | None = None
    ranks: list[_RankLimits] = []


class _Trial(_Shape):
    name: str
    ranks: Size
    scaling: Literal["strong", "weak"]
    repeat: Annotated[int, Field(ge=-int(MOST), le=int(MOST))]
    setting: dict[str, str] = {}
    state: Literal["done", "failed"]
    reason: str = ""
    begun: str = ""
    wall_s: Number
    digest: str = ""
    bits: str = ""
    values: dict[str, Number] = {}
    digests: dict[str, str] = {}
    run: dict[str, Any] = {}
    size_bytes: Count | None = None
    limits: _Limits = _Limits()


class _Done(_Trial):
    wall_s: Positive
    digest: Digest
    run: _Run  # type: ignore[assignment]  # narrower: a trial that failed may have none

    @model_validator(mode="after")
    def _all_ranks(self) -> _Done:
        numbers = sorted(account.rank for account in self.run.attempt.ranks)
        if numbers != list(range(self.ranks)):
            raise ValueError(f"expected an account of each of its {self.ranks} ranks, found those of {numbers}")
        return self


class _Sweep(_Shape):
    key: str
    values: list[str]


class _Rules(_Shape):
    ranks: list[Size]
    repeat: Size
    warm_ups: Count
    weak: bool
    comm: Literal["mpi", "gloo"] | None
    gpus_per_rank: Count | None
    hosts: str | None
    slurm: str | None
    minutes: Number | None
    overrides: list[str]
    sweeps: list[_Sweep]
    version: int


class _Document(_Shape):
    job: str
    command: list[str]
    rules: _Rules
    examples: Size | None
    machine: dict[str, Any]
    trials: list[dict[str, Any]]


def check_document(document: Mapping[str, Any]) -> None:
    """See that a document is one that can be computed with.

    Args:
      document: bench.json, already parsed.
    Raises: ValueError: it is not; says where and what was expected.

    >>> check_document({"trials": []})
    Traceback (most recent call last):
    ...
    ValueError: job: Field required; command: Field required; rules: Field required; and 2 more
    """
    _validate(_Document, document, ())
    for place, trial in enumerate(document["trials"]):
        check_trial(trial, ("trials", place))


def check_trial(trial: Mapping[str, Any], where: tuple[str | int, ...] = ("trial",)) -> None:
    """See that the facts of a trial are some that can be computed with: one that is done needs more than one that failed.

    Args:
      trial: as `Facts.to_json` makes it.
      where: it stands in the document, for the message.
    Raises: ValueError: they are not.
    """
    _validate(_Done if trial.get("state") == "done" else _Trial, trial, where)


def _validate(shape: type[_Shape], value: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    try:
        shape.model_validate(value)
    except ValidationError as exc:
        errors = [f"{'.'.join(map(str, (*where, *error['loc'])))}: {_message(error)}" for error in exc.errors()]
        more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise ValueError("; ".join(errors[:3]) + more) from None


def _message(error: Mapping[str, Any]) -> str:
    """Say what was expected and found; of what is missing nothing was."""
    text = error["msg"].removeprefix("Value error, ")
    return text if error["type"] in ("missing", "value_error") else f"{text}, found {reprlib.repr(error['input'])}"
