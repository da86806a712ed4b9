"""The command line under attack: each command is a process of its own, with limits on time and memory.

    python -m tests.attack.target

It has imported everything and computed nothing, and forks for each command that it reads as a line of JSON: starting
Python and torch a thousand times would take an hour.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.runs.killed import at_operation

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""After this, a command hangs."""
MEMORY_BYTES = 4 * 2**30
"""More than this, beyond what has been imported, no command may ask for."""


@dataclass(frozen=True)
class Result:
    """What became of a command."""

    code: int
    """-1: it was killed since it took too long."""
    out: str
    err: str
    seconds: float


class Target:
    """Runs commands, one after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.num_commands = 0

    def run(
        self, *arguments: object, cwd: Path, colors: bool = False, signal_at: tuple[int, int] | None = None
    ) -> Result:
        """Run ``hifitse`` with these arguments in a folder.

        Args:
            colors: on a terminal, of sorts.
            signal_at: a signal, and before which operation on files it comes; then there is a file ``.signalled``.
        """
        assert self._process.stdin and self._process.stdout
        job = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "colors": colors, "signal_at": signal_at}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self.num_commands += 1
        return Result(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """Start a process that runs commands."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.attack.target"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Target(process)
        assert process.stdin
        process.stdin.close()


def _serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.monotonic()
            process = os.fork()
            if process == 0:
                _be(**job, out=out.fileno(), err=err.fileno())
            code = _wait(process)
            texts = [file.seek(0) or file.read().decode(errors="surrogateescape") for file in (out, err)]
        result = {"code": code, "out": texts[0], "err": texts[1], "seconds": time.monotonic() - started}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def _be(
    arguments: Sequence[str], cwd: str, colors: bool, signal_at: tuple[int, int] | None, out: int, err: int
) -> None:
    """Become the command."""
    from hifitse.cli import main

    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, standard)
    os.chdir(cwd)
    os.environ["XDG_CACHE_HOME"] = f"{cwd}/.cache"
    if colors:
        os.environ["FORCE_COLOR"] = "1"
    most = MEMORY_BYTES + int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if signal_at:
        number, operation = signal_at

        def send() -> None:
            Path(cwd, ".signalled").touch()
            os.kill(os.getpid(), number)

        at_operation(operation, send)
    sys.argv = ["hifitse", *arguments]
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 0)
    finally:
        os._exit(99)


def _wait(process: int) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -1


if __name__ == "__main__":
    import h5py  # noqa: F401
    import torch._dynamo  # noqa: F401

    import hifitse.commands._tables
    import hifitse.commands._verify
    import hifitse.report.live.display
    import hifitse.training.loop  # noqa: F401
    from hifitse.commands._app import COMMANDS, load_command

    for name in COMMANDS:
        load_command(name)
    # What is never collected is never written to, and so never copied for a command.
    gc.freeze()
    _serve()
