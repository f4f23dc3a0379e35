"""YAML as a job may have it: values and nothing else, nested so deep, repeated so often, each key once. Knows no keys.

Aliases stand for copies, and copies of copies grow without bound; so what they stand for is counted before anything is made
of it. Nothing here is recursive beyond the depth that is allowed.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from harness.errors import JobError

__all__ = ["DEPTH", "depth", "parse"]

DEPTH = 50  # lists and mappings inside each other; a job needs six
COPIES = 10_000  # values that aliases may stand for, in all
MERGE = "tag:yaml.org,2002:merge"
VALUE = "tag:yaml.org,2002:value"
TEXT = 300  # of a foreign message


def parse(text: str, where: str) -> Any:
    """Return what a YAML text says.

    Args:
      text: one document.
      where: it comes from, for messages.
    Raises: JobError: it is no YAML, nested too deep, repeats too much, or names a key twice; says in which line.

    >>> parse("a: &x {k: 3}\\nb: *x", "job.yaml")
    {'a': {'k': 3}, 'b': {'k': 3}}
    >>> parse("a: 1\\nb: 2\\na: 3", "job.yaml")
    Traceback (most recent call last):
    harness.errors.JobError: job.yaml, line 3: the key 'a' stands in line 1 already; keep one of them
    """
    try:
        return yaml.load(text, _Loader)
    except _Refused as exc:
        raise JobError(f"{where}, line {exc.line}: {exc}") from None
    except yaml.MarkedYAMLError as exc:
        position = exc.problem_mark or exc.context_mark
        line = f", line {position.line + 1}" if position else ""
        # Without the text at the place, which may hold half a URL.
        problem = " ".join(f"{exc.context or ''} {exc.problem or ''}".split())[:TEXT]
        raise JobError(f"{where}{line}: not YAML: {problem}") from None
    except yaml.YAMLError as exc:
        raise JobError(f"{where}: not YAML: {' '.join(str(exc).split())[:TEXT]}") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as exc:
        # What the constructors of numbers and dates raise where the value is none.
        raise JobError(f"{where}: not YAML: a value is not what it seems to be: {' '.join(str(exc).split())[:TEXT]}") from None


def depth(value: Any) -> int:
    """Return how deep lists and mappings lie inside each other, without recursion; above `DEPTH` it is no longer counted.

    >>> depth({"a": [{}]}), depth(3)
    (3, 0)
    """
    level, layer = 0, [value]
    while level <= DEPTH:
        inner = [held for held in layer if isinstance(held, dict | list | tuple)]
        if not inner:
            break
        level += 1
        layer = [part for held in inner for part in (held.values() if isinstance(held, dict) else held)]
    return level


class _Refused(yaml.YAMLError):
    """A bound that a text does not keep."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.line = mark.line + 1


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = 0
        self._copies = 0
        self._sizes: dict[int, int] = {}  # values that a node stands for, those of its aliases too, by its id

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node as usual, and count."""
        event = self.peek_event()
        if self._level == DEPTH:
            raise _Refused(f"lists and mappings are nested more than {DEPTH} deep; a job needs no more", event.start_mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _Refused(f"*{event.anchor} stands inside of what it stands for", event.start_mark)
            self._copies += self._sizes[id(node)]
            if self._copies > COPIES:
                raise _Refused(
                    f"aliases stand for more than {COPIES:,} values up to *{event.anchor}; write them out, or use globs",
                    event.start_mark,
                )
        elif node is not None:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in _children(node))
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping as usual; a key that stands twice is refused, where YAML's own loader takes the last."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name = self._name(key)
            line = key.start_mark.line + 1
            if name in lines:
                raise _Refused(f"the key '{name}' stands in line {lines[name]} already; keep one of them", key.start_mark)
            lines[name] = line
        return node

    def _name(self, key: Any) -> str:
        """Return a key as text, as the job has it."""
        if isinstance(key, yaml.ScalarNode):
            value = key.value if key.tag in (MERGE, VALUE) else self.construct_object(key)
            if isinstance(value, str):
                return value
            if value is None or isinstance(value, bool | int | float):
                return json.dumps(value)
        raise _Refused("expected a key of text, found something else", key.start_mark)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    return [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
