"""Parity of two models as a document: how far apart what they say of the same examples is, from the files of a run alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder, write_atomically
from harness.names.events import Event
from harness.names.log import LOG
from harness.results.examples import read_examples
from harness.results.printed import Block, Printed
from harness.results.run_document import finished
from harness.results.tables import TextTable, number, slice_name

__all__ = ["FILE", "Parity", "show_parity"]

SCHEMA_VERSION = 1
FILE = "parity.json"  # in the run folder
DIFFERENCES = {
    "within_tolerance": "within",
    "prediction_difference": "mean_difference",
    "largest_prediction_difference": "largest_difference",
}
COUNTS = {
    "both_right": "both_right",
    "only_baseline_right": "only_reference_right",
    "only_right": "only_candidate_right",
    "both_wrong": "both_wrong",
    "p": "p",
}
SHOWN = 10  # of slices and of examples; all are in the file


@dataclass(frozen=True, repr=False)
class Parity(Printed):
    """What two models say of the same examples.

    Attributes:
      document: what parity.json holds.
    """

    document: Mapping[str, Any]

    @classmethod
    def of(cls, folder: RunFolder) -> Parity:
        """Read a finished run of a parity job.

        Raises: RunFolderError: there is no finished run, or it compares no two models.
        """
        result = finished(folder)
        keys = _paired(result)
        if not keys:
            raise RunFolderError(f"{folder.metrics_json}: expected metrics of two models, as within_tolerance, found none")
        binding = result["definitions"][next(iter(keys))]["binding"]
        reference, candidate = (str(binding[side]).partition("/")[0] for side in ("baseline", "output"))
        return cls(
            {
                "schema_version": SCHEMA_VERSION,
                "reference": reference,
                "candidate": candidate,
                "examples": result["certificate"]["examples"],
                "id_hash": result["certificate"]["id_hash"],
                **_numbers(result, result, keys),
                "slices": [
                    {"slice": part["slice"], "examples": part["examples"], **_numbers(result, part, keys)}
                    for part in result.get("slices") or []
                ],
                "worst": _worst(folder),
            }
        )

    def text(self, form: str = "json") -> str:
        """Return parity.json; see docs/schemas/parity.json."""
        return json.dumps(self.document, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def blocks(self) -> Iterator[Block]:
        """Return tables of the outputs, the decisions, the slices that are furthest apart, and the examples."""
        document = self.document
        yield f"{document['candidate']} against {document['reference']}, {document['examples']:,} examples"
        yield _outputs_table(document["outputs"])
        if document["decisions"]:
            yield _decisions_table(document["decisions"])
        if document["slices"]:
            yield _slices_table(document["slices"])
        whole = [example for example in document["worst"] if not example["group"] and example["distance"] != 0]
        if whole:
            table = TextTable(["furthest apart", "sum of differences", "file", "record"])
            for example in whole[:SHOWN]:
                distance = number(example["distance"])
                table.rows.append([str(example["id"]), distance, str(example["file"] or ""), str(example["record"])])
            yield table
        yield from _nulls(document["reasons"])


def show_parity(folder: RunFolder, ranks: int) -> None:
    """Write parity.json of a finished run into its folder, and print what it says. The result is there: what fails is a warning.

    Args:
      ranks: how many the process is one of.
    """
    try:
        parity = Parity.of(folder)
        write_atomically(folder.path / FILE, parity.text())
    except RunFolderError as exc:
        LOG.say(Event.RUN_WARNING, f"the result is written, {FILE} is not: {exc}")
        return
    parity.show(ranks)
    certificate = f"certificate: every one of {parity.document['examples']:,} examples counted once, by both models"
    print(f"{certificate}\nresults: {folder.path}")


def _paired(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of the metrics of two models that parity is made of, with the name of the metric."""
    wanted = {*DIFFERENCES, "flip_rate", "mcnemar"}
    return {
        key: entry["metric"]
        for key, entry in result["definitions"].items()
        if entry.get("metric") in wanted and entry.get("binding", {}).get("baseline")
    }


def _numbers(result: Mapping[str, Any], part: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the numbers of the whole or of a slice: an entry an output, and one an output that decisions are read of."""
    outputs: dict[str, dict[str, Any]] = {}
    decisions: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    for key, metric in keys.items():
        if (entry := part["metrics"].get(key)) is None:
            continue
        definition = result["definitions"][key]
        output = str(definition["binding"]["output"]).partition("/")[2]
        if entry.get("reason"):
            reasons[key] = entry["reason"]
        if metric in DIFFERENCES:
            row = outputs.setdefault(output, {"output": output})
            row[DIFFERENCES[metric]] = entry["value"]
            if metric == "within_tolerance":
                interval = part.get("intervals", {}).get(key, {})
                row |= {"low": interval.get("low"), "high": interval.get("high")}
                row |= {name: definition["options"][name] for name in ("atol", "rtol")}
            continue
        row = decisions.setdefault(output, {"output": output})
        if metric == "flip_rate":
            row["flip_rate"] = entry["value"]
        else:
            value = entry["value"] or {}
            row |= {name: value.get(count) for count, name in COUNTS.items()}
    return {"outputs": list(outputs.values()), "decisions": list(decisions.values()), "reasons": reasons}


def _worst(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the examples that are furthest apart, by group; a distance that is no number is null."""
    frame = read_examples(folder)
    if frame is None:
        return []
    columns = ("group", "id", "file", "record", "loss")
    rows = frame[frame["list"] == "worst"].reindex(columns=columns).itertuples(index=False)
    return [
        {
            "group": str(row.group or ""),
            "id": int(row.id),
            "file": None if row.file is None else str(row.file),
            "record": int(row.record),
            "distance": float(row.loss) if math.isfinite(row.loss) else None,
        }
        for row in rows
    ]


def _outputs_table(outputs: Sequence[Mapping[str, Any]]) -> TextTable:
    table = TextTable(["output", "within tolerance", "tolerance", "mean difference", "largest"])
    for row in outputs:
        interval = "" if row.get("low") is None else f" [{number(row['low'])}, {number(row['high'])}]"
        tolerance = f"{row['atol']:g} + {row['rtol']:g} |r|"
        within = f"{number(row['within'])}{interval}"
        table.rows.append([row["output"], within, tolerance, number(row["mean_difference"]), number(row["largest_difference"])])
    return table


def _decisions_table(decisions: Sequence[Mapping[str, Any]]) -> TextTable:
    names = ("flip_rate", *COUNTS.values())
    table = TextTable(["decisions", "flipped", "both right", "only reference", "only candidate", "both wrong", "McNemar p"])
    table.rows.extend([row["output"], *(number(row.get(name)) for name in names)] for row in decisions)
    return table


def _nulls(reasons: Mapping[str, str]) -> Iterator[str]:
    """Say which numbers have no value, those of one reason together.

    >>> list(_nulls({"b/flip_rate": "2 predictions are NaN", "b/mcnemar": "2 predictions are NaN"}))[0]
    'flip_rate, mcnemar: null, 2 predictions are NaN'
    """
    keys: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        keys.setdefault(reason, []).append(key.partition("/")[2])
    yield from (f"{', '.join(own)}: null, {reason}" for reason, own in keys.items())
    if any("NaN" in reason for reason in keys):
        yield (
            "a number that is NaN or infinite in either model agrees with nothing: the models are not the same, and the examples "
            "whose sum of differences is null are those"
        )


def _slices_table(slices: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return the slices that are furthest apart: those without a share within tolerance first, then the smallest share."""
    lines = [
        (row["within"], slice_name(part["slice"]), part["examples"], row)
        for part in slices
        for row in part["outputs"]
        if "within" in row
    ]
    lines.sort(key=lambda line: (line[0] is not None, line[0]))
    table = TextTable(["slice", "output", "examples", "within tolerance", "mean difference", "largest"], names=2)
    for within, name, examples, row in lines[:SHOWN]:
        apart = [number(row["mean_difference"]), number(row["largest_difference"])]
        table.rows.append([name, row["output"], number(examples), number(within), *apart])
    return table
