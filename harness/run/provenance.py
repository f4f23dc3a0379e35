"""Whether the data are still those that were evaluated: while an attempt runs, at its resume, in front of a finished run.

Each host looks at the files once an attempt, and what it saw is kept in the run folder. A file that changes while it is
evaluated ends the run before what was read of it is committed. Where a file is not the one that was kept, the chunks that
were committed are read again, shared among the ranks that see the same files, and their content hashes compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from harness.data import Feature, Kind, Source
from harness.data.content import ContentHash, signed
from harness.data.identity import Identity, Inventory, identify, take
from harness.errors import DataError, HarnessError, RunFolderError
from harness.folder.journal import find
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.plan.plan import Plan
from harness.prepare.input_binding import Matched
from harness.ranks.comm import Comm
from harness.run.consensus import together

__all__ = ["Provenance", "Reading", "meet", "summed"]

READ = 256  # examples hashed at a time
NAMED = 5  # files named in a message
GO_ON = "--same-data goes on without looking"
KEPT = "Nothing is lost: put back the data that were evaluated, or evaluate these in another folder with -o"


@dataclass(frozen=True)
class Reading:
    """How a run read its data, so that chunks can be hashed again without its model.

    Attributes:
      features: that were parsed. hashed: raw tensors whose contents are certified. skip: whether bad records are skipped.
    """

    features: Mapping[str, Feature]
    hashed: tuple[str, ...]
    skip: bool

    @classmethod
    def of(cls, source: Source, matched: Matched, *, skip: bool) -> Reading:
        """Return how the pipeline of a job reads; see `tf_feed.make_feed`."""
        hashed = source.reads(matched.wanted if matched.hashed is None else matched.hashed)
        return cls(matched.wanted, tuple(sorted(hashed)), skip)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes; JSON can hold it.

        >>> reading = Reading({"x": Feature("float32", (None, 3), Kind.VARIABLE, 0)}, ("x",), True)
        >>> Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading
        True
        """
        features = {n: [f.dtype, list(f.shape), f.kind.value, f.pad, list(f.keys)] for n, f in self.features.items()}
        return {"features": features, "hashed": list(self.hashed), "skip": self.skip}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Reading:
        """Return the reading that `to_dict` took apart.

        Raises: ValueError, TypeError, KeyError, AttributeError: it is something else.
        """
        features = {
            name: Feature(dtype, tuple(shape), Kind(kind), pad, tuple(keys))
            for name, (dtype, shape, kind, pad, keys) in raw["features"].items()
        }
        return cls(features, tuple(raw["hashed"]), bool(raw["skip"]))

    def contents(self, source: Source, plan: Plan, chunks: Iterable[int], moved: Callable[[], None]) -> dict[int, int]:
        """Read chunks again; return their content hashes.

        Raises: DataError: they cannot be read.
        """
        selected = source.select(self.features, skip=self.skip)
        hasher = ContentHash(self.hashed)
        found: dict[int, int] = {}
        for index in chunks:
            chunk, known = plan[index], selected.known_content(index)
            if known is None:
                known = signed(sum(hasher.of(records) for records in selected.read(chunk.start, chunk.stop, READ)))
            found[index] = known
            moved()
        return found


@dataclass(frozen=True)
class Provenance:
    """What the data lay in when an attempt began.

    Attributes:
      source, plan: of the run.
      here: as this rank's host saw it.
      hosts: of each rank.
      inventories: as each host saw it, by name.
    """

    source: Source
    plan: Plan
    here: Inventory
    hosts: tuple[str, ...] = ()
    inventories: Mapping[str, Inventory] = field(default_factory=dict)

    def check(self, chunks: Iterable[int]) -> None:
        """See that the files of some chunks are what they were when the attempt began.

        Raises: DataError: one has changed; says which, and what is not as it was.
        """
        places = {at for number in _files_of(self.plan, chunks) for at in self._places(number)}
        changed = []
        for at in sorted(places):
            before = self.here.identities[at]
            if before.alone and (changes := before.changes(identify(before.path))):
                changed.append(f"{before.path} changed while it was evaluated: {changes}")
        if changed:
            raise DataError(
                f"{_listed(changed)}. What was read of it since the last commit is not kept, what was committed before is: put "
                "the old data back and go on with --resume, or evaluate the new in another folder with -o"
            )

    def record(self, folder: RunFolder, reading: Reading | None = None) -> None:
        """Keep in the run folder what the hosts saw, and how the data are read; rank 0 calls this.

        Raises: HarnessError: it cannot be written.
        """
        if not self.here.identities and reading is None:
            return
        kept = read_json(folder.data_json)
        before = kept.get("reading") if isinstance(kept, dict) else None
        by_marks: dict[Inventory, list[str]] = {}
        for host, inventory in self.inventories.items():
            by_marks.setdefault(inventory, []).append(host)
        document = {
            "reading": reading.to_dict() if reading else before,
            "seen": [
                {"hosts": sorted(hosts), "files": [list(astuple(identity)) for identity in inventory.identities]}
                for inventory, hosts in by_marks.items()
            ],
        }
        try:
            write_atomically(folder.data_json, json.dumps(document, sort_keys=True) + "\n")
        except RunFolderError as exc:
            # Not the command's fault once work has begun.
            raise HarnessError(f"{exc}; what was finished before is kept, --resume goes on from there") from exc

    def confirm(
        self,
        comm: Comm,
        folder: RunFolder,
        segments: Sequence[str],
        *,
        finished: bool,
        trusted: bool = False,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """See that what was committed was read of the data that are there now. A collective.

        Args:
          segments: names of those that were, or will be, added up.
          finished: whether the run is done.
          trusted: take data that nobody can look at for the same.
          moved: called at each sign of progress.
        Raises: DataError: they are others, or that cannot be told.
        """
        task = comm.broadcast(
            json.dumps(
                together(comm, lambda: self._task(folder, segments, finished, trusted) if comm.rank == 0 else None)
            ).encode()
        )
        doubts: dict[str, Any] = json.loads(task)
        if not doubts:
            return
        together(comm, lambda: self._compare(comm, doubts, moved))
        if comm.rank == 0:
            count = len(doubts["contents"])
            print(f"harness: {count} chunks of the data were read again: they hold what was evaluated", file=sys.stderr)
            if finished:
                _try_to(lambda: self.record(folder))

    def _places(self, number: int) -> tuple[int, ...]:
        return self.here.numbers[number] if number < len(self.here.numbers) else ()

    def _task(self, folder: RunFolder, segments: Sequence[str], finished: bool, trusted: bool) -> dict[str, Any]:
        """Say what has to be read again; nothing where all is as it was."""
        if not segments and not finished:
            return {}
        kept = read_json(folder.data_json)
        known = _marks(kept)
        doubts: dict[str, dict[int, str]] = {}
        for host, inventory in self.inventories.items():
            if found := _doubts(inventory, known, (not finished) and not trusted):
                doubts[host] = found
        if not doubts or (finished and kept is None and not _has_content(folder)):
            return {}  # an earlier version kept nothing that could be compared
        files = sorted({number for found in doubts.values() for number in found})
        why = _listed(list(dict.fromkeys(text for found in doubts.values() for text in found.values())))
        wanted = _chunks_in(self.plan, files)
        held = _contents(folder, segments, len(self.plan))
        contents = {chunk: held[chunk] for chunk in wanted if chunk in held}
        if reason := self._hindrance(kept, contents, wanted if finished else [], folder):
            raise DataError(f"{why}. Whether they still hold what was evaluated cannot be told: {reason}; {GO_ON}. {KEPT}")
        return {"doubts": doubts, "contents": contents, "reading": kept["reading"], "why": why}

    def _hindrance(self, kept: Any, contents: Mapping[int, int], wanted: Sequence[int], folder: RunFolder) -> str:
        """Say why chunks cannot be compared; empty where they can."""
        if self.source.without_content:
            return self.source.without_content
        try:
            Reading.from_dict(kept["reading"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return f"{folder.data_json} is missing or torn"
        missing = [chunk for chunk in wanted if chunk not in contents]
        return f"chunk {missing[0]} is not in {folder.journal}" if missing else ""

    def _compare(self, comm: Comm, task: Mapping[str, Any], moved: Callable[[], None]) -> None:
        """Read this rank's share again.

        Raises: DataError: it holds something else.
        """
        doubts = {host: {int(number): text for number, text in found.items()} for host, found in task["doubts"].items()}
        mine = doubts.get(comm.host, {})
        # Ranks that see the same files share the work; each host with copies of its own does all of it.
        group = [
            rank for rank, host in enumerate(self.hosts)
            if set(doubts.get(host, {})) == set(mine) and self.inventories[host].marks == self.here.marks
        ]  # fmt: skip
        before = {int(chunk): content for chunk, content in task["contents"].items()}
        chunks = [chunk for chunk in _chunks_in(self.plan, mine) if chunk in before]
        share = chunks[group.index(comm.rank) :: len(group)] if mine else []
        try:
            now = Reading.from_dict(task["reading"]).contents(self.source, self.plan, share, moved)
        except DataError as exc:
            raise DataError(
                f"{_listed(list(mine.values()))}, and what was evaluated cannot be read again: {exc}. {KEPT}"
            ) from exc
        others = [chunk for chunk in share if now[chunk] != before[chunk]]
        if others:
            first = self.plan[others[0]]
            of = {mine[number] for number in _files_of(self.plan, others) if number in mine}
            more = f", and {len(others) - 1} more of the {len(share)} chunks read again" if len(others) > 1 else ""
            raise DataError(
                f"{_listed(sorted(of))}: chunk {first.index} ({self.plan.describe(first)}) holds other data than when it was "
                f"evaluated{more}. {KEPT}"
            )


def meet(comm: Comm, source: Source, plan: Plan, seen: Inventory) -> Provenance:
    """Have every host look at the files for itself, once. A collective.

    Args:
      source, plan: of the run.
      seen: by rank 0, when it opened the data.
    Raises: DataError: a host does not see a file, or one of another size.
    """

    def look() -> Inventory | None:
        if comm.rank == 0 or comm.local_rank or not seen.identities:
            return None
        found = take(source)
        for first, here in zip(seen.identities, found.identities, strict=True):
            if first.size != here.size:
                raise DataError(
                    f"{here.path} has {here.size} bytes on {comm.host} and {first.size} on the host of rank 0: its copy is "
                    "another; copy the data anew, or read them from a shared file system"
                )
        return None if found.marks == seen.marks else found

    own = together(comm, look)
    rows = None if own is None else [list(astuple(identity)) for identity in own.identities]
    said = [json.loads(raw) for raw in comm.gather(json.dumps([comm.host, rows]).encode())]
    hosts = tuple(host for host, _ in said)
    inventories = dict.fromkeys(hosts, seen)
    for host, others in said:
        if others is not None:
            inventories[host] = Inventory(tuple(Identity(*row) for row in others), seen.numbers)
    return Provenance(source, plan, inventories[comm.host], hosts, inventories)


def _spans(plan: Plan, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the first and the last file of some chunks, int64 [n] each."""
    starts, bounds = plan.file_starts, plan.bounds
    first, last = (np.searchsorted(starts, ids, side="right") - 1 for ids in (bounds[chunks], bounds[chunks + 1] - 1))
    return first, last


def _files_of(plan: Plan, chunks: Iterable[int]) -> list[int]:
    """Return the numbers of the files that some chunks lie in.

    >>> from harness.plan.plan import File
    >>> plan = Plan((File("a", 0, 3), File("b", 0, 4), File("c", 0, 1)), 2, 4)  # chunks 0..4, 4..8
    >>> _files_of(plan, [0]), _files_of(plan, [1]), _files_of(plan, [])
    ([0, 1], [1, 2], [])
    """
    first, last = _spans(plan, np.fromiter(chunks, np.int64))
    borders = np.zeros(len(plan.files) + 1, np.int64)
    np.add.at(borders, first, 1)
    np.add.at(borders, last + 1, -1)
    numbers: list[int] = np.flatnonzero(np.cumsum(borders)).tolist()
    return numbers


def _chunks_in(plan: Plan, files: Iterable[int]) -> list[int]:
    """Return the chunks that lie in some files, or reach into them.

    >>> from harness.plan.plan import File
    >>> _chunks_in(Plan((File("a", 0, 3), File("b", 0, 4), File("c", 0, 1)), 2, 4), [0])
    [0]
    """
    first, last = _spans(plan, np.arange(len(plan)))
    named = np.zeros(len(plan.files) + 1, np.int64)
    named[np.fromiter(files, np.int64) + 1] = 1
    before = np.cumsum(named)  # how many of the files come before each
    chunks: list[int] = np.flatnonzero(before[last + 1] > before[first]).tolist()
    return chunks


def _marks(kept: Any) -> list[list[tuple[Any, ...]]]:
    """Return what earlier attempts kept of the files, without their paths, one list a kind of host; none where it is torn."""
    try:
        return [[tuple(row[1:]) for row in seen["files"]] for seen in kept["seen"]]
    except (TypeError, KeyError, IndexError):
        return []


def _doubts(inventory: Inventory, known: Sequence[Sequence[tuple[Any, ...]]], unseen: bool) -> dict[int, str]:
    """Name the files of the plan that are not known to be what they were.

    Args:
      known: see `_marks`.
      unseen: whether files that nobody can look at are doubtful too.
    Returns: by number, why.
    """
    found: dict[int, str] = {}
    for number, places in enumerate(inventory.numbers):
        if not places and unseen:
            found[number] = "nobody can look at the data to see whether they changed"
        for at in places:
            now = inventory.identities[at]
            if any(len(marks) == len(inventory.identities) and marks[at] == now.mark for marks in known):
                continue
            before = known[0][at] if known and at < len(known[0]) else None
            try:
                changes = Identity(now.path, *before).changes(now) if before else ""
            except TypeError:
                changes = ""
            texts = [found[number]] if number in found else []
            found[number] = _listed([*texts, f"{now.path} is not as it was{f': {changes}' if changes else ''}"])
    return found


def _contents(folder: RunFolder, segments: Sequence[str], chunks: int) -> dict[int, int]:
    """Return the content hashes that some segments hold, by chunk."""
    wanted = set(segments)
    found: dict[int, int] = {}
    for segment in find(folder.journal)[0]:
        if segment.name in wanted:
            found |= {int(line[0]): int(line[-1]) for line in segment.lines if 0 <= line[0] < chunks}
    return found


def _has_content(folder: RunFolder) -> bool:
    """Say whether a finished run certifies what was read."""
    document = read_json(folder.metrics_json)
    return isinstance(document, dict) and "content_hash" in (document.get("certificate") or {})


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more files" if len(texts) > NAMED else ""
    return ", and ".join(texts[:NAMED]) + more


def _try_to(work: Callable[[], None]) -> None:
    try:
        work()
    except RunFolderError as exc:
        print(f"harness: warning: {exc}", file=sys.stderr)  # costs another look the next time, nothing else


def summed(folder: RunFolder) -> tuple[str, ...]:
    """Return the names of the segments that a finished run was summed from; none where its account is torn."""
    run = read_json(folder.run_json)
    names = run.get("journal") if isinstance(run, dict) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
