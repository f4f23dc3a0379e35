"""The console script: the group of all commands, and how a process ends. Loads what a command needs when it is called."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

import click

from harness.cli.baseline import baseline
from harness.cli.bench import bench
from harness.cli.comparison import compare
from harness.cli.evaluation import check, evaluate, init, predict, serve_check
from harness.cli.export import export
from harness.cli.forecast import forecast
from harness.cli.gate import gate
from harness.cli.inventory import doctor, index, metrics
from harness.cli.launch import launch
from harness.cli.load import load
from harness.cli.parity import parity
from harness.cli.report import report
from harness.cli.results import collect, show, verify
from harness.cli.standard_streams import open_closed_streams
from harness.cli.submit import submit
from harness.cli.usage import explain
from harness.cli.verbosity import add_verbosity
from harness.cli.watch import watch
from harness.errors import HarnessError, Interrupted, OtherRankFailed, nearest
from harness.names.events import Event
from harness.names.log import LOG, wants_json
from harness.names.variables import STATUS
from harness.names.verbosity import is_verbose
from harness.version import __version__

__all__ = ["cli", "main"]

LAST_WORDS_S = 2.0


class _Commands(click.Group):
    """Names the nearest command when one is unknown."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}': {nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Exact distributed evaluation of TensorFlow models.

    Every rank runs the same command; alone it is one rank. Start several with horovodrun, mpirun or srun, or let
    `harness launch` do it.
    """


for _command in (
    baseline, bench, check, collect, compare, doctor, evaluate, export, forecast, gate, index, init, launch, load, metrics,
    parity, predict, report, serve_check, show, submit, verify, watch,
):  # fmt: skip
    cli.add_command(add_verbosity(_command))
add_verbosity(cli)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; end the process with the exit code of the contract."""
    open_closed_streams()
    _begin_log(sys.argv[1:] if args is None else args)
    code = 1
    try:
        code = cli.main(args=args, prog_name="harness", standalone_mode=False) or 0
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.ClickException as exc:
        if _speaks():
            LOG.say(Event.RUN_FAILED, explain(exc))
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = Interrupted.exit_code
        LOG.say(Event.RUN_INTERRUPTED, "interrupted", text="harness: interrupted")
    except HarnessError as exc:
        code = exc.exit_code
        if not isinstance(exc, OtherRankFailed) and (_speaks() or code == 1):
            _say(exc)
    except SystemExit as exc:
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        code = 0  # whoever read has seen enough: click ends with 1
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EIO) or exc.filename is not None:
            raise
        LOG.say(Event.RUN_FAILED, f"the output cannot be written: {exc.strerror}")
    _tell_launcher(code)
    if code and not _speaks():
        # Launchers end all ranks when the first one leaves: what all find alike is said by rank 0 before that.
        time.sleep(LAST_WORDS_S)
    from harness.ranks.process_exit import exit_process

    exit_process(code)


def _begin_log(words: Sequence[str]) -> None:
    if wants_json(words):
        command = next(word for word in words if not word.startswith("-"))
        LOG.begin_json(None if command == "launch" else _rank())


def _say(exc: HarnessError) -> None:
    if is_verbose():
        traceback.print_exception(exc)
    LOG.say(Event.RUN_FAILED, str(exc))


def _speaks() -> bool:
    """Whether this rank prints what all ranks find alike: the first one, and a process that is alone."""
    return _rank() == 0


def _rank() -> int:
    from harness.ranks.comm import World

    return World.from_environment().rank


def _tell_launcher(code: int) -> None:
    if STATUS.get() and _speaks():
        from harness.watch.failure import tell_launcher

        tell_launcher(code)
