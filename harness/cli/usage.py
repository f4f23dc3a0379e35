"""What is wrong with a command line, in one line: what was found, what was probably meant, and where all of it is listed."""

from __future__ import annotations

import difflib

import click

__all__ = ["explain"]

RANKS = (
    "--gpus", "--n", "--nproc", "--np", "--num-proc", "--num-processes", "--num-workers", "--processes", "--ranks",
    "--world-size", "-n", "-np",
)  # fmt: skip
STARTS_RANKS = {
    "launch": "say -np N",
    "submit": "say --ntasks N",
    "evaluate": "this command is one rank, and several are started by: harness launch -np N -- evaluate ...",
    "predict": "this command is one rank, and several are started by: harness launch -np N -- predict ...",
}
ELSEWHERE = {
    "-o": ("--dir", "--folder", "--out", "--out-dir", "--outdir", "--output-dir", "--output-path", "--run-dir"),
    "--overwrite": ("--again", "--force", "-f"),
    "--force": ("--overwrite", "-f"),
    "--metrics": ("--metric", "-m"),
    "--label": ("--labels", "--target", "-l", "-y"),
    "--resume": ("--continue", "--restart"),
    "-H": ("--host", "--hosts"),
}  # what others call an option of ours


def explain(error: click.ClickException) -> str:
    """Return what is wrong, and what to do.

    >>> context = click.Context(click.Command("show"), info_name="show")
    >>> explain(click.UsageError("Missing argument 'RUN'.", context))
    "Missing argument 'RUN'; 'harness show --help' says how it is used"
    """
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    is_group = isinstance(context.command, click.Group)
    command = "harness" if is_group else f"harness {_path(context)}"
    if isinstance(error, click.NoSuchOption):
        name = error.option_name.partition("=")[0]
        return f"{command} has no option '{name}': {_meant(name, context)}'{command} --help' lists all"
    return message if is_group else f"{message}; '{command} --help' says how it is used"


def _path(context: click.Context) -> str:
    """Return the name of a command, behind that of the group that it stands in."""
    above = context.parent
    is_inside = above is not None and above.parent is not None and isinstance(above.command, click.Group)
    return f"{above.info_name} {context.info_name}" if above is not None and is_inside else str(context.info_name)


def _meant(name: str, context: click.Context) -> str:
    """Return what was probably meant, up to a semicolon; nothing where that cannot be guessed."""
    command, above = context.info_name or "", context.parent
    options = _options(context.command)
    if above is not None and not isinstance(above.command, click.Group) and name in _options(above.command):
        return f"it is an option of {above.command_path}, and stands before the --; "
    if name in RANKS and command in STARTS_RANKS:
        return f"{STARTS_RANKS[command]}; "
    for ours, others in ELSEWHERE.items():
        if name in others and ours in options:
            return f"did you mean '{ours}'? "
    if "--set" in options and (key := name.lstrip("-").replace("-", "_")) in _job_keys():
        return f"it is a key of the job: --set {key}=VALUE; "
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'? " if close else ""


def _options(command: click.Command) -> list[str]:
    return [name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts]


def _job_keys() -> list[str]:
    from harness.job.job import Job

    return list(Job.model_fields)
