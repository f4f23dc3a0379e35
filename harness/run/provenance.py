"""Whether the data are still those that were evaluated: while an attempt runs, at its resume, in front of a finished run.

Each host looks at the files once an attempt, and what it saw is kept in the run folder. A file that changes while it is
evaluated ends the run before what was read of it is committed. Where a file is not the one that was kept, the chunks that
were committed are read again, shared among the ranks that see the same files, and their content hashes compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from harness.data import Source
from harness.data.identity import Identity, Inventory, identify, take
from harness.errors import DataError, HarnessError, RunFolderError
from harness.folder.journal import find
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.names.events import Event
from harness.names.log import LOG
from harness.plan.plan import Plan
from harness.ranks.comm import Comm
from harness.run.changed_files import chunks_in, doubtful_files, files_of, listed, marks_of
from harness.run.consensus import together
from harness.run.reading import Reading

__all__ = ["Provenance", "Reading", "meet", "summed"]

GO_ON = "--same-data goes on without looking"
KEPT = "Nothing is lost: put back the data that were evaluated, or evaluate these in another folder with -o"


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
        places = {place for number in files_of(self.plan, chunks) for place in self._places(number)}
        changed = []
        for place in sorted(places):
            before = self.here.identities[place]
            if before.alone and (changes := before.changes(identify(before.path))):
                changed.append(f"{before.path} changed while it was evaluated: {changes}")
        if changed:
            raise DataError(
                f"{listed(changed)}. What was read of it since the last commit is not kept, what was committed before is: put "
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
            LOG.say(Event.RUN_REREAD, f"{count} chunks of the data were read again: they hold what was evaluated")
            if finished:
                _try_to(lambda: self.record(folder))

    def _places(self, number: int) -> tuple[int, ...]:
        return self.here.numbers[number] if number < len(self.here.numbers) else ()

    def _task(self, folder: RunFolder, segments: Sequence[str], finished: bool, trusted: bool) -> dict[str, Any]:
        """Say what has to be read again; nothing where all is as it was."""
        if not segments and not finished:
            return {}
        kept = read_json(folder.data_json)
        known = marks_of(kept)
        doubts: dict[str, dict[int, str]] = {}
        for host, inventory in self.inventories.items():
            if reasons := doubtful_files(inventory, known, unseen=not finished and not trusted):
                doubts[host] = reasons
        if not doubts or (finished and kept is None and not _has_content(folder)):
            return {}  # an earlier version kept nothing that could be compared
        files = sorted({number for reasons in doubts.values() for number in reasons})
        why = listed(list(dict.fromkeys(text for reasons in doubts.values() for text in reasons.values())))
        wanted = chunks_in(self.plan, files)
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
        doubts = {host: {int(number): text for number, text in reasons.items()} for host, reasons in task["doubts"].items()}
        mine = doubts.get(comm.host, {})
        # Ranks that see the same files share the work; each host with copies of its own does all of it.
        group = [
            rank for rank, host in enumerate(self.hosts)
            if set(doubts.get(host, {})) == set(mine) and self.inventories[host].marks == self.here.marks
        ]  # fmt: skip
        before = {int(chunk): content for chunk, content in task["contents"].items()}
        chunks = [chunk for chunk in chunks_in(self.plan, mine) if chunk in before]
        share = chunks[group.index(comm.rank) :: len(group)] if mine else []
        try:
            now = Reading.from_dict(task["reading"]).contents(self.source, self.plan, share, moved)
        except DataError as exc:
            raise DataError(f"{listed(list(mine.values()))}, and what was evaluated cannot be read again: {exc}. {KEPT}") from exc
        others = [chunk for chunk in share if now[chunk] != before[chunk]]
        if others:
            first = self.plan[others[0]]
            reasons = {mine[number] for number in files_of(self.plan, others) if number in mine}
            rest = f", and {len(others) - 1} more of the {len(share)} chunks read again" if len(others) > 1 else ""
            raise DataError(
                f"{listed(sorted(reasons))}: chunk {first.index} ({self.plan.describe(first)}) holds other data than when it was "
                f"evaluated{rest}. {KEPT}"
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
        own = take(source)
        for first, here in zip(seen.identities, own.identities, strict=True):
            if first.size != here.size:
                raise DataError(
                    f"{here.path} has {here.size} bytes on {comm.host} and {first.size} on the host of rank 0: its copy is "
                    "another; copy the data anew, or read them from a shared file system"
                )
        return None if own.marks == seen.marks else own

    different = together(comm, look)
    rows = None if different is None else [list(astuple(identity)) for identity in different.identities]
    accounts = [json.loads(raw) for raw in comm.gather(json.dumps([comm.host, rows]).encode())]
    hosts = tuple(host for host, _ in accounts)
    inventories = dict.fromkeys(hosts, seen)
    for host, others in accounts:
        if others is not None:
            inventories[host] = Inventory(tuple(Identity(*row) for row in others), seen.numbers)
    return Provenance(source, plan, inventories[comm.host], hosts, inventories)


def _contents(folder: RunFolder, segments: Sequence[str], chunks: int) -> dict[int, int]:
    """Return the content hashes that some segments hold, by chunk."""
    wanted = set(segments)
    contents: dict[int, int] = {}
    for segment in find(folder.journal)[0]:
        if segment.name in wanted:
            contents |= {int(line[0]): int(line[-1]) for line in segment.lines if 0 <= line[0] < chunks}
    return contents


def _has_content(folder: RunFolder) -> bool:
    """Say whether a finished run certifies what was read."""
    document = read_json(folder.metrics_json)
    return isinstance(document, dict) and "content_hash" in (document.get("certificate") or {})


def _try_to(work: Callable[[], None]) -> None:
    try:
        work()
    except RunFolderError as exc:
        LOG.say(Event.RUN_WARNING, str(exc))  # costs another look the next time, nothing else


def summed(folder: RunFolder) -> tuple[str, ...]:
    """Return the names of the segments that a finished run was summed from; none where its account is torn."""
    run = read_json(folder.run_json)
    names = run.get("journal") if isinstance(run, dict) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
