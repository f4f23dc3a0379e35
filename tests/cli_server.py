"""Runs the real command line many times at the price of one import: loads TensorFlow and the harness, then forks for every command.

Reads one JSON request a line: argv, cwd, environ, stdout, stderr (paths); TEST_PACKAGES names folders of packages. Answers with the exit code.
"""

import json
import os
import sys

from tests import preloading, schemas


def main() -> None:
    preloading.load()
    print("ready", flush=True)
    with schemas.checked_renames():
        serve()


def serve() -> None:
    """Run what is asked for, each in a fork."""
    from harness import cli
    from harness.step import build as tf_build
    from tests.ranks import faulty

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            os.chdir(request["cwd"])
            os.environ.update(request["environ"])
            sys.path += filter(None, os.environ.get("TEST_PACKAGES", "").split(os.pathsep))
            tf_build.XLA_POSITIONS = int(os.environ.get("XLA_POSITIONS", tf_build.XLA_POSITIONS))
            if "HARNESS_TEST_FAULT" in os.environ:
                faulty.plant(os.environ["HARNESS_TEST_FAULT"])
            for descriptor, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
                flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(name, flags, 0o644), descriptor)
            sys.argv = ["harness", *request["argv"]]
            try:
                cli.main(request["argv"])
            finally:
                os._exit(99)  # main ends the process itself
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
