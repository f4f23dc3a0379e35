"""Curves as documents: a table, JSON, CSV, Markdown. Pure functions of the runs' files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.comparison.curve import Curve, Point
from harness.metrics.direction import Better
from harness.results.tables import TextTable, markdown, markdown_text, number

__all__ = ["SCHEMA_VERSION", "rows", "sentence", "table", "to_json", "to_markdown"]

SCHEMA_VERSION = 1


def to_json(curves: Sequence[Curve], level: float, paired: bool) -> str:
    """Return curve.json; see docs/schemas/curve.json."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "level": level,
        "paired": paired,
        "curves": [
            {
                "metric": curve.number,
                "label": curve.label,
                "better": None if curve.better is Better.NEITHER else curve.better.value,
                "best": None if curve.best is None else curve.points[curve.best].step,
                "optimism": curve.optimism,
                "corrected": curve.corrected,
                "reason": curve.reason,
                "points": [_point(curve, at) for at in range(len(curve.points))],
            }
            for curve in curves
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return a row a point, for CSV."""
    return [
        {"metric": curve.number, "label": curve.label, **_point(curve, at)} for curve in curves for at in range(len(curve.points))
    ]


def table(curve: Curve) -> TextTable:
    """Return a row a point: the best has two stars, those that cannot be told from it one."""
    shown = TextTable(["step", "run", curve.label, "interval", "best in"], names=2)
    for at, point in enumerate(curve.points):
        mark = "**" if at == curve.best else "*" if point.is_alike else ""
        share = "" if point.best_share is None else f"{point.best_share:.0%}"
        shown.rows.append([f"{point.step:,}", point.side, f"{_value(point)}{mark}", _band(point), share])
    return shown


def sentence(curve: Curve) -> str:
    """Say which checkpoint is the best, what cannot be told from it, and by how much the choice flatters it."""
    if curve.best is None:
        return f"{curve.label}: no best: {curve.reason}"
    best = curve.points[curve.best]
    text = f"{curve.label}: best at step {best.step:,}"
    others = [point for at, point in enumerate(curve.points) if at != curve.best]
    if alike := [point for point in others if point.is_alike]:
        text += f", cannot be told from {_steps(alike)}"
    elif all(point.is_alike is not None for point in others):
        text += ", told from all others"
    if untested := [point for point in others if point.is_alike is None]:
        text += f", not tested against {_steps(untested)}"
    error = best.number.standard_error if best.number is not None else None
    if curve.optimism is None:
        return f"{text}; how much the choice flatters it is not known: {curve.reason}"
    if curve.optimism == 0:
        return f"{text}, and the best in every replicate: the choice does not flatter it"
    return f"{text}; chosen by these same examples it looks about {curve.optimism:.2g} too good: {number(curve.corrected, error)}"


def to_markdown(curves: Sequence[Curve]) -> str:
    """Return a summary for a pull request."""
    return "\n\n".join(part for curve in curves for part in (markdown(table(curve)), markdown_text(sentence(curve)))) + "\n"


def _steps(points: Sequence[Point]) -> str:
    return ", ".join(f"{point.step:,}" for point in points)


def _point(curve: Curve, at: int) -> dict[str, Any]:
    point = curve.points[at]
    held, bounds = point.number, point.bounds
    reason = "it is not there" if held is None else held.reason if bounds is None else bounds.reason
    return {
        "step": point.step,
        "run": point.side,
        "value": None if held is None else held.value,
        "low": None if bounds is None else bounds.low,
        "high": None if bounds is None else bounds.high,
        "examples": 0 if held is None else held.examples,
        "best_share": point.best_share,
        "is_best": at == curve.best,
        "is_alike": point.is_alike,
        "reason": reason,
    }


def _value(point: Point) -> str:
    return "" if point.number is None else number(point.number.value, point.number.standard_error)


def _band(point: Point) -> str:
    if point.number is None or point.bounds is None or point.bounds.low is None or point.bounds.high is None:
        return ""
    error = point.number.standard_error
    return f"[{number(point.bounds.low, error)}, {number(point.bounds.high, error)}]"
