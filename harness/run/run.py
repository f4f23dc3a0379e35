"""The door of the command line: one run, from job to results, as every rank goes through it. Imported late: loads TensorFlow.

open -> claim -> the passage -> the terminal. A failure while ranks work ends all of them at once.
"""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import replace

import numpy as np

from harness.errors import CommError, HarnessError, JobError, WorldChanged
from harness.folder.attempts import Attempt, Lock
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.names.events import Event
from harness.names.log import LOG
from harness.names.status_line import Status
from harness.names.texts import printable
from harness.predictions import dataset as predictions
from harness.predictions.part_check import PartCheck
from harness.prepare.binding import make_metrics, without_labels
from harness.prepare.one_class import of_one_class
from harness.prepare.opened import Opened, open_predictions, survey
from harness.prepare.prepare import known_outputs, prepare_model, wanted_predictions
from harness.ranks import open_files
from harness.ranks.comm import Comm, World
from harness.ranks.schedule import Schedule, assign
from harness.results.terminal import console_for, show
from harness.run.attended import Attended
from harness.run.beside import check_beside, check_places
from harness.run.command import Command, Options
from harness.run.consensus import check_shared, connect
from harness.run.counting import Counted, count
from harness.run.door import Home
from harness.run.export import hand_on
from harness.run.found_classes import find_classes, found_text
from harness.run.job_gate import JobGate, Settled, settle_and_tell
from harness.run.limits import Limits
from harness.run.metering import metered
from harness.run.monitoring import last_rate, open_monitor
from harness.run.opening import open_on_all
from harness.run.passage import Passage
from harness.run.provenance import Provenance, meet, summed
from harness.run.record import Process
from harness.run.report import write_report
from harness.run.run_lock import Destination, began, claim
from harness.run.timer import Timer
from harness.step import tensorflow as tf_setup
from harness.watch.beat import Beat
from harness.watch.beat_file import BeatFile
from harness.watch.elastic import is_elastic, rounds
from harness.watch.failure import Ended, Told, end_all
from harness.watch.interrupt import Interrupt
from harness.watch.progress import Progress

__all__ = ["run"]

UNLIKE = (
    "the machines gave different bits for one and the same batch; another split of the work over them may change the last digits"
)
DONE_ALREADY = "this run is done already, nothing was evaluated; to do it again say --overwrite, or choose another folder with -o"


def run(job: Job, options: Options, world: World) -> int:
    """Evaluate a job as one of the ranks of the world; return the exit code. What goes wrong once ranks have met is said here.

    Raises: HarnessError: what went wrong before. A failure while ranks work ends all of them at once.
    """
    interrupt = Interrupt()
    interrupt.start()
    lock = Lock(RunFolder((options.output or job.output_folder).absolute()))
    try:
        with metered(world) as timer:
            return _run(job, options, world, interrupt, lock, timer)
    finally:
        interrupt.close()
        lock.give_back()


def _import(timer: Timer, options: Options) -> None:
    options.line.show(Status("importing TensorFlow"))
    with timer.phase("import"):
        tf_setup.import_tensorflow()


def _run(job: Job, options: Options, world: World, interrupt: Interrupt, lock: Lock, timer: Timer) -> int:
    """Make this process ready, and go through the run: an elastic one in rounds."""
    open_files.keep_some_back()
    if job.has_own_metrics:  # their module may import TensorFlow, and not as quietly
        _import(timer, options)
    check_beside(job)
    metrics = make_metrics(job)
    if options.predict:
        metrics = without_labels(job, metrics)
    elif not metrics:
        raise JobError("metrics: expected at least one metric, found none; harness predict does without")
    gate = JobGate.of(job, metrics)
    folder = RunFolder((options.output or job.output_folder).absolute())
    _import(timer, options)
    threads = tf_setup.threads_per_rank(world)
    devices = tf_setup.set_up(world.local_rank, threads, job.seed, eager=job.eager)
    command = Command(job, metrics, options, folder, interrupt, lock, gate)
    options.line.show(Status(f"meeting {world.size} ranks" if world.size > 1 else "looking at model and data"))
    if not is_elastic():
        with timer.phase("connect"):
            comm = connect(world)
        return _round(command, Process(comm, timer, threads, devices))

    def play(comm: Comm, again: bool) -> int:
        resumed = replace(command, options=_in_round(options, again=again))
        with metered(comm, timer) if again else contextlib.nullcontext(timer) as own:
            return _round(resumed, Process(comm, own, threads, devices))

    return rounds(
        lambda: connect(world, elastic=True), play, folder, lock.give_back, lambda: settle_and_tell(folder, command.gate).code
    )


def _in_round(options: Options, *, again: bool) -> Options:
    """Return the options of a round of an elastic run: a further one goes on from what those before have finished."""
    return replace(options, resume=True, overwrite=False, again=True) if again else replace(options, again=False)


def _round(command: Command, process: Process) -> int:
    """Go through a run with the ranks that are there; return the exit code."""
    options, folder, comm = command.options, command.folder, process.comm
    try:
        last = last_rate(command.job, folder, comm.size) if comm.rank == 0 else None
        check_places(comm, command.job, is_done=folder.metrics_json.exists() and not options.overwrite)
        with process.timer.phase("open"):
            opened, attempt = _claim(command, comm)
        provenance = meet(comm, opened.source, opened.plan, opened.inventory)
        if attempt is None:
            if not options.same_data:
                provenance.confirm(comm, folder, summed(folder), finished=True)
            command.interrupt.be_done(comm)
            settled = _say_done(command, comm)
            comm.close()
            return settled.code
        check_shared(folder, comm)
        attempted = command.attempted(attempt, opened)
        stall_s = options.stall_timeout_s
        monitor = open_monitor(process, command.job, opened, (folder, attempted), stall_timeout_s=stall_s, last=last)
    except Told as exc:
        return exc.ended.code
    progress = Progress(opened.plan.examples, options.line)
    with Attended(process, folder, attempted, progress, monitor, stall_timeout_s=stall_s) as door:
        command.interrupt.attach(
            comm,
            folder,
            attempt.number,
            door.heartbeat,
            command.lock.give_back,
            lambda: settle_and_tell(folder, command.gate).code,
        )
        door.interrupt = command.interrupt
        ended = _work(command, process, opened, attempt, provenance, door)
    if isinstance(ended, Settled):
        comm.close()
    return ended.code


def _claim(command: Command, comm: Comm) -> tuple[Opened, Attempt | None]:
    """Count the data on all ranks; open them and claim the run folder on rank 0; no attempt where the run is done already."""
    job, options, folder, lock = command.job, command.options, command.folder, command.lock
    counted = Counted()
    options.line.show(Status("looking at model and data"))
    if not options.predictions:
        counted = count(comm, job, lambda: survey(job, began(folder) if options.resume else None), options.line)

    def work() -> tuple[Opened, Attempt | None]:
        opened = open_predictions(job, options.predictions) if options.predictions else counted.open(job)
        destination = Destination(folder, lock, options.resume, options.overwrite)
        if not options.predict:
            return claim(destination, opened, job, comm.size)
        spec = wanted_predictions(job)
        check = _part_check(command, comm, spec.format)
        return claim(
            destination,
            opened,
            job,
            comm.size,
            digests={"predictions": predictions.digest(spec)},
            clear=lambda done: predictions.clear(folder.predictions, spec.format, keep=done),
            intact=check.intact,
        )

    return open_on_all(comm, work)


def _part_check(command: Command, comm: Comm, kind: str) -> PartCheck:
    """Return what looks at the parts that earlier attempts left, on rank 0: all of them are read.

    That may take minutes: the heartbeat keeps other attempts away meanwhile. A further round of an elastic run does not
    read them once more: what is changed since is noticed when all are put together.
    """
    options, folder = command.options, command.folder
    beat, file = Beat(comm.rank), BeatFile(folder, comm.rank, comm.size)

    def moved() -> None:
        beat.moves += 1
        file.write_in_turn(beat)
        options.line.show(Status("checking the predictions of earlier attempts"))

    return PartCheck(folder.predictions, kind, hashed=not options.again, moved=moved)


def _say_done(command: Command, comm: Comm) -> Settled:
    """Show the result of a run that is finished, and judge it by the rules as they are now."""
    if comm.rank:
        return _agreed(command, comm, None)
    settled = command.settle()
    _show(command, comm, settled, DONE_ALREADY)
    hand_on(command.folder, command.job)
    return _agreed(command, comm, settled)


def _show(command: Command, comm: Comm, settled: Settled, remark: str = "") -> None:
    """Show a result, and what its gate comes to. It is written: that it cannot be shown is no failure of the run."""
    try:
        if command.options.view is not None:
            command.options.view(command.folder, comm.size)
        else:
            show(command.folder, console_for(comm.size), brief=command.options.quiet)
        if remark:
            print(remark)
        settled.show(comm.size)
    except OSError as exc:
        LOG.say(Event.RUN_WARNING, f"the result is written, but cannot be shown: {exc.strerror}")


def _agreed(command: Command, comm: Comm, settled: Settled | None) -> Settled:
    """Have all ranks end with the exit code of rank 0. Nobody leaves before it has written: a launcher may end the job then."""
    if command.gate is not None:
        settled = settled or Settled()
        settled = replace(settled, code=comm.broadcast(bytes([settled.code]))[0])
    comm.barrier()
    return settled or Settled()


def _work(
    command: Command, process: Process, opened: Opened, attempt: Attempt, provenance: Provenance, door: Attended
) -> Settled | Ended:
    """Take the passage; where it fails, end every rank."""
    comm, folder = process.comm, command.folder
    try:
        if not command.options.same_data:
            again = command.options.again
            provenance.confirm(comm, folder, attempt.kept, finished=False, trusted=again, moved=door.move)
        home = Home(folder, attempt, command.options.same_data)
        door.limits = Limits(comm, home) if command.options.limits else None
        return _pass(command, Passage(process, command.job, opened, provenance, door, home))
    except WorldChanged:
        raise
    except HarnessError as exc:
        if door.elastic and isinstance(exc, CommError):
            raise
        return end_all(comm, folder, exc)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the other ranks must not wait for this one
        traceback.print_exc()
        bug = HarnessError(f"{type(exc).__name__}: {exc}; this is a bug of the harness, the lines above say where")
        return end_all(comm, folder, bug)


def _pass(command: Command, passage: Passage) -> Settled:
    """Share out what is left, evaluate it, show the result and judge it."""
    passage = find_classes(passage, command.metrics)
    job, opened, comm, door = passage.job, passage.opened, passage.process.comm, passage.door
    left = np.setdiff1d(np.arange(len(opened.plan)), np.array(opened.done, np.int64))
    with passage.process.timer.phase("connect"):
        wanted = Schedule.DYNAMIC if is_elastic() else Schedule(job.schedule) if job.schedule else None
        assigned = assign(comm, opened.plan, left, wanted)
    door.shared_out(assigned)
    if comm.rank == 0 and not command.options.quiet and (text := found_text(opened)):
        LOG.say(Event.RUN_CLASSES, printable(text))
    if assigned.problem and comm.rank == 0:
        LOG.say(Event.RUN_WARNING, f"chunks are shared out before the loop: {assigned.problem}")
    built = passage.build(assigned, lambda: prepare_model(job, command.metrics, opened, predict=command.options.predict))
    conclusion = passage.evaluate(built, assigned)
    settled = None
    if conclusion is not None:
        LOG.note(Event.RUN_DONE, f"{command.folder.metrics_json} is written")
        settled = command.settle()
        _show(command, comm, settled)
        write_report(command.folder, job)
        for note in of_one_class(built.question, known_outputs(built.prepared.model)):
            LOG.say(Event.RUN_WARNING, note, text=f"note: {note}")
        for note in built.served.notes() if built.served else ():
            LOG.say(Event.RUN_WARNING, note, text=f"warning: {note}")
        hand_on(command.folder, job)
        if not conclusion.alike:
            LOG.say(Event.RUN_WARNING, UNLIKE, text=f"warning: {UNLIKE}")
    door.move("done")
    return _agreed(command, comm, settled)
