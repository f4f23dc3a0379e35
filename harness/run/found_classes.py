"""The classes of labels that are text, where the job does not name them: found in one pass over the labels, by all ranks.

What is found depends on the data alone. It is part of the question, and so of what a run's sums belong to; an attempt that
resumes takes it from the run folder.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from harness.data import Feature, Source
from harness.data.content import ContentHash
from harness.errors import JobError, RunFolderError
from harness.folder.question_file import read_question
from harness.job.job import Job
from harness.metrics.contract import Metric
from harness.metrics.question import Question
from harness.plan.plan import Chunk
from harness.prepare.input_binding import declared, feature_of_extra
from harness.prepare.opened import Opened
from harness.ranks.schedule import static_share
from harness.ranks.share import FixedShare
from harness.run.door import Home
from harness.run.passage import Passage

__all__ = ["class_names", "find_classes", "found_text", "label_texts", "text_labels"]

MOST = 1 << 16  # classes: a feature with more texts than that is no class
SHOWN = 10
BATCH = 1024  # labels parsed at a time, at most


def text_labels(job: Job, metrics: Mapping[str, Metric], source: Source) -> dict[str, Feature]:
    """Return the labels that are text and name classes that the job does not."""
    labels = _class_labels(job, metrics)
    known = {**source.features(), **declared(job.data)} if labels else {}
    features = {name: feature_of_extra(name, known, "label", parsed=source.flat) for name in labels if name in known}
    return {name: feature for name, feature in features.items() if feature.dtype == "string"}


def _class_labels(job: Job, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Return the labels whose classes the job does not name, whatever they hold."""
    if job.data.classes is not None:
        return ()
    bindings = {key: metric.binding("", job.data.label, job.data.weight) for key, metric in metrics.items()}
    return Question(metrics, bindings).class_labels


def find_classes(passage: Passage, metrics: Mapping[str, Metric]) -> Passage:
    """Find the classes that the labels name, each rank in its share of the examples. A collective, where there is need of it.

    Returns: the passage with the names of the classes.
    Raises: HarnessError: the labels cannot be read, or are no classes.
    """
    job, opened, process, door = passage.job, passage.opened, passage.process, passage.door
    if not _class_labels(job, metrics):
        return passage
    comm = process.comm
    with process.timer.phase("open"):
        labels = door.together(lambda: text_labels(job, metrics, opened.source) if comm.rank == 0 else {})
        # What is pickled here is read by ranks of the same job and by nobody else. Rank 0 says whether there is a pass.
        labels = pickle.loads(comm.broadcast(pickle.dumps(labels)))
        if not labels:
            return passage
        opened = replace(opened, text_labels=labels)

        def texts() -> set[bytes]:
            if (kept := _kept(passage.home)) is not None:
                return {name.encode() for name in kept}
            return label_texts(job, opened, static_share(opened.plan, comm.rank, comm.size), process.threads, door.move)

        own = door.together(texts)
        every: list[set[bytes]] = [pickle.loads(raw) for raw in comm.gather(pickle.dumps(own))]
        names = door.together(lambda: class_names(set().union(*every), list(labels)))
    return replace(passage, opened=replace(opened, classes=names))


def label_texts(
    job: Job, opened: Opened, chunks: Sequence[Chunk], threads: int, moved: Callable[[], None] = lambda: None
) -> set[bytes]:
    """Read the labels of some chunks; return the texts that occur in the examples that count.

    Args:
      threads: of the pipeline.
      moved: called at each sign of progress.
    Raises: HarnessError: they cannot be read. JobError: there are more than classes can be.
    """
    from harness.step.failure import translate
    from harness.step.pipeline_feed import PipelineFeed

    features = opened.text_labels
    source = opened.source.select(features, skip=job.data.on_bad_record == "skip")
    feed = PipelineFeed(source, features, min(opened.plan.chunk_size, BATCH), threads, ContentHash(()))
    texts: set[bytes] = set()
    try:
        feed.open(FixedShare(chunks))
        for arrays in feed.kept():
            moved()
            for array in arrays.values():
                texts.update(array.ravel().tolist())
            if len(texts) > MOST:
                raise JobError(
                    f"{_labels(features)}: found more than {MOST:,} distinct texts: a text of each example's own is no class; "
                    "name the classes with data.classes, or another label"
                )
    except Exception as exc:
        raise translate(exc, feed, opened.plan, chunks, job) from exc
    return texts


def class_names(texts: Iterable[bytes], features: Sequence[str]) -> tuple[str, ...]:
    """Return texts as names of classes: sorted, without the empty text, which is a missing label.

    Raises: JobError: there are none; they are numbers; or one is no text.

    >>> class_names({b"go", b"", b"c"}, ["language"])
    ('c', 'go')
    """
    label = _labels(features)
    try:
        names = sorted(text.decode() for text in texts if text)
    except UnicodeDecodeError as exc:
        raise JobError(f"{label}: expected text in UTF-8, found {exc.object!r}") from None
    if not names:
        raise JobError(
            f"{label}: found no label that is not the empty text; name another label, or the classes with data.classes"
        )
    if all(name.isdecimal() for name in names):
        # Sorted as text, 10 comes before 2: whether they are names or numbers the job has to say.
        raise JobError(
            f"{label}: every text is a number ({', '.join(names[:SHOWN])}), and whether they are names or numbers of classes "
            "the data do not say: list them in the order of the output's columns with data.classes; in a CSV file a column "
            f"may be declared a number as well, data.features: {{{features[0]}: {{dtype: int64}}}}"
        )
    return tuple(names)


def found_text(opened: Opened) -> str:
    """Say which classes were found; empty where none were looked for."""
    if not opened.text_labels or opened.classes is None:
        return ""
    names = opened.classes
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (
        f"classes: {len(names):,} found in {_labels(opened.text_labels)}, sorted: {', '.join(names[:SHOWN])}{more}; the output's "
        "columns are taken to be in this order, data.classes says another"
    )


def _labels(features: Iterable[str]) -> str:
    return "label " + ", ".join(f"'{name}'" for name in features)


def _kept(home: Home | None) -> tuple[str, ...] | None:
    """Return the classes that an earlier attempt found, where sums of it are kept; None where nobody has."""
    if home is None or not home.attempt.kept:
        return None
    try:
        return read_question(home.folder)[0].classes
    except RunFolderError:
        return None  # they are found again; whether they are the same, the digest of the question tells
