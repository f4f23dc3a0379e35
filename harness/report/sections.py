"""What a page is put together of: sections with their template, figures with their data. Holds; knows nothing of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.results.tables import TextTable

__all__ = ["Figure", "Link", "Section", "SortedCell", "SortedRow", "SortedTable"]


@dataclass(frozen=True)
class Link:
    """A place on the page, and what is there."""

    target: str
    text: str


@dataclass(frozen=True)
class Figure:
    """A drawing and its data.

    Attributes:
      svg: the drawing.
      title: what it shows, in words: it stands for the drawing where that is not seen.
      data: the numbers that are drawn.
      note: how it is read.
      links: where cells of the data lead to, by line and column.
    """

    svg: str
    title: str
    data: TextTable
    note: str = ""
    links: Mapping[tuple[int, int], Link] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
      anchor: its name in links.
      title: its heading.
      template: file that lays out `content`.
      content: what the template reads.
    """

    anchor: str
    title: str
    template: str
    content: Any


@dataclass(frozen=True)
class SortedCell:
    """A value as it is shown, and as it is sorted by; None where there is none."""

    text: str
    interval: str = ""
    value: float | None = None


@dataclass(frozen=True)
class SortedRow:
    """A slice or a class: how many examples it has, and whether they are few."""

    name: str
    size: float
    small: bool
    cells: Sequence[SortedCell]


@dataclass(frozen=True)
class SortedTable:
    """A table that can be sorted and filtered.

    Attributes:
      title: what it is of.
      head: names of the first two columns.
      columns: names of the others.
      note: in which order the rows are.
      left_out: what is left out, a sentence each.
    """

    title: str
    head: tuple[str, str]
    columns: Sequence[str]
    rows: Sequence[SortedRow]
    note: str
    left_out: Sequence[str] = ()
