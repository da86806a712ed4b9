"""What train, watch and runs look like: real trainings in a real terminal, its screen as text, in docs/live.md.

    python benchmarks/captures.py docs/live.md

Everything below the heading "Captures" of that file is replaced. It takes some minutes.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

SIZES = ((80, 24), (120, 40))
HEADING = "## Captures\n"
HIFITSE = (sys.executable, "-m", "hifitse")
SHORT = (
    *("train.validate_every=40", "train.checkpoint_every=40", "train.log_every=5", "train.cpu_threads=1"),
    *("validation.num_scenes=40", "curriculum.tp.until=60"),
)
# No output is that loud: the guard acts at the second validation of the phase that it judges.
UNHEALTHY = ("health.guards.level_low.below=100", "health.guards.level_low.phases=all")
SECONDS = 120


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, size: tuple[int, int], folder: Path, *arguments: str) -> None:
        columns, lines = size
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
            os.execv(HIFITSE[0], [*HIFITSE, *arguments])
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, is_there: Callable[[str], object]) -> str:
        """Return the screen once something is on it, or the command has ended."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not is_there(self.text):
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    self.stream.feed(os.read(self.descriptor, 65536))
                except OSError:
                    # Nobody writes any more.
                    break
        return self.text

    def interrupt(self) -> None:
        os.write(self.descriptor, b"\x03")

    def end(self) -> str:
        """Return the last screen."""
        self.wait_for(lambda _: False)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process, 0)
        return self.text

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()


def captures(size: tuple[int, int], folder: Path) -> dict[str, str]:
    """Return what is on the screens of that size, by title."""
    found = {}
    settings = [part for setting in SHORT for part in ("--set", setting)]
    training = Terminal(size, folder, "train", "--config", "demo", "--run", "demo", *settings, "--stop-at", "400")
    found["`hifitse train`, in a validation"] = training.wait_for(lambda text: re.search("validating, [1-9]", text))
    found["`hifitse train`, some steps later"] = training.wait_for(lambda text: " 85/" in text or " 86/" in text)
    watching = Terminal(size, folder, "watch", "demo")
    found["`hifitse watch demo` meanwhile, in another terminal"] = watching.wait_for(lambda text: "scenes/s" in text)
    found["`hifitse runs` meanwhile"] = Terminal(size, folder, "runs").end()
    training.interrupt()
    found["`hifitse train` after Ctrl-C"] = training.end()
    found["`hifitse watch demo` after that"] = watching.end()
    stopped = [part for setting in UNHEALTHY for part in ("--set", setting)]
    guarded = Terminal(size, folder, "resume", "--run", "demo", *stopped)
    found["`hifitse resume`, after a guard stopped it"] = guarded.end()
    found["`hifitse runs` after that"] = Terminal(size, folder, "runs").end()
    found["`hifitse watch demo` after that, again"] = Terminal(size, folder, "watch", "demo").end()
    return found


def main(page: Path) -> None:
    """Replace the captures of a page."""
    text = page.read_text().partition(HEADING)[0] + HEADING
    for columns, lines in SIZES:
        folder = Path(tempfile.mkdtemp(prefix="captures-"))
        text += f"\n### {columns} x {lines}\n"
        for title, screen in captures((columns, lines), folder).items():
            text += f"\n{title}:\n\n```text\n{screen}\n```\n"
        shutil.rmtree(folder)
    page.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    main(parser.parse_args().page)
