"""What a page is put together of: sections with their template, figures with their data. Holds; knows nothing of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.results.tables import TextTable

__all__ = ["Figure", "Section"]


@dataclass(frozen=True)
class Figure:
    """A drawing and its data.

    Attributes:
      svg: the drawing.
      title: what it shows, in words: it stands for the drawing where that is not seen.
      data: the numbers that are drawn.
      note: how it is read.
    """

    svg: str
    title: str
    data: TextTable
    note: str = ""


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
