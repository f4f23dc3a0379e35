"""Answers as tables and sentences: printed, as a notebook shows them, and as Python represents them."""

from __future__ import annotations

import html
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator

from rich.console import Console

from harness.names.texts import printable
from harness.results.tables import TextTable
from harness.results.terminal import PLAIN_WIDTH, console_for, print_text_table, say

__all__ = ["Block", "Printed"]

Block = TextTable | str


class Printed(ABC):
    """What a command prints and a function of Python returns. Its representation is what is printed."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Return its tables and sentences, from top to bottom."""

    def show(self, ranks: int = 1) -> None:
        """Print it; `ranks` is how many the process is one of."""
        _print(console_for(ranks), self.blocks())

    def __repr__(self) -> str:
        text = io.StringIO()
        # Else, in a notebook, rich would show it there rather than write it.
        console = Console(
            file=text, width=PLAIN_WIDTH, color_system=None, force_terminal=False, force_jupyter=False, highlight=False
        )
        _print(console, self.blocks())
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return "".join(_html(block) for block in self.blocks())


def _print(console: Console, blocks: Iterator[Block]) -> None:
    for block in blocks:
        if isinstance(block, TextTable):
            print_text_table(console, block)
        else:
            say(console, block)


def _html(block: Block) -> str:
    """Write a table or a sentence as HTML.

    >>> _html("a < b"), _html(TextTable(["metric", "value"], [["f1", "0.5"]]))[-65:]
    ('<p>a &lt; b</p>', '<tr><td style="text-align: left">f1</td><td>0.5</td></tr></table>')
    """
    if isinstance(block, str):
        return f"<p>{_escaped(block)}</p>"
    title = f"<caption>{_escaped(block.title)}</caption>" if block.title else ""
    lines = [_line(block.columns, "th", block.names), *(_line(row, "td", block.names) for row in block.rows)]
    return f"<table>{title}{''.join(lines)}</table>"


def _line(cells: list[str], tag: str, names: int) -> str:
    styles = [' style="text-align: left"' if place < names else "" for place in range(len(cells))]
    return f"<tr>{''.join(f'<{tag}{style}>{_escaped(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=True))}</tr>"


def _escaped(text: str) -> str:
    return html.escape(printable(text))
