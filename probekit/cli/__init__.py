"""The command line: thin. Bad input ends with one line and exit code 2, never with a traceback."""

import errno
import os
import shlex
import sys

from typer._click.exceptions import ClickException

from probekit.cli import (  # noqa: F401 - registers the commands
    capture,
    causal,
    circuit,
    corpus,
    directions,
    erasure,
    express,
    geometry,
    judge,
    probing,
    read,
    retain,
    scorecard,
    steer,
    stimuli,
)
from probekit.cli.application import app, err, say
from probekit.errors import UserError

INTERRUPTED = 130


def main() -> None:
    """Entry point of the `probekit` command."""
    # On a busy machine, threads that spin for long while they wait slow everything tenfold.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code (0 done, 2 bad input, 130 interrupted)."""
    try:
        # Typer turns Ctrl-C into the exit code 130 and returns it.
        code = app(arguments, standalone_mode=False) or 0
    except UserError as error:
        return _refuse(str(error))
    except ClickException as error:
        return _refuse(error.format_message())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        return _refuse(f"cannot write {error.filename or ''}: {error.strerror}; make room there")
    if code == INTERRUPTED:
        again = shlex.join(["probekit", *arguments])
        say(f"interrupted; what is finished is kept, go on with: {again}")
    return code


def _refuse(message: str) -> int:
    err.print(f"error: {' '.join(message.split())}", markup=False, highlight=False, soft_wrap=True)
    return 2
