"""``--ranks N``: the same command again in N processes of this machine, which live and end together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from hifitse import console
from hifitse.distributed.environment import read_place
from hifitse.distributed.lifetime import LAUNCHER
from hifitse.distributed.signals import Interrupts
from hifitse.errors import HifitseError, Interrupted, UsageError

_SAVING_SECONDS = 600.0
"""How long ranks may take to end their step and save it after a signal."""
_FAILED_SECONDS = 30.0
"""How long the others may take when one of them has failed."""
_CHECK_SECONDS = 0.1

Rank = subprocess.Popen[bytes]


def launch_ranks(num_ranks: int, batch_size: int) -> bool:
    """Run this process's command line in ``num_ranks`` processes, until all have ended well.

    Returns:
        False if there is nothing to launch: one rank, or this is one of them already.

    Raises:
        UsageError: there are more ranks than scenes in a step, or the environment is that of half a rank.
        Interrupted: a signal ended them, their state saved.
        HifitseError: one of them failed; it carries the rank's exit code.
    """
    if read_place().size > 1 or num_ranks == 1:
        return False
    if num_ranks > batch_size:
        raise UsageError(f"train.batch_size {batch_size} is below the number of ranks, {num_ranks}")
    with Interrupts(console.urgent) as interrupts:
        ranks = _start(num_ranks)
        try:
            failed = _wait(ranks, interrupts)
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    if failed is not None:
        raise _failure(ranks, failed)
    if interrupts.received:
        raise Interrupted("interrupted; the ranks have ended", interrupts.received)
    return True


def _start(num_ranks: int) -> list[Rank]:
    common = {
        "WORLD_SIZE": str(num_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        LAUNCHER: str(os.getpid()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // num_ranks, 1))),
    }
    command = [sys.executable, "-m", "hifitse", *sys.argv[1:]]
    return [
        subprocess.Popen(command, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(num_ranks)
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(ranks: Sequence[Rank], interrupts: Interrupts) -> int | None:
    """Wait until all ranks have ended; return the one that failed first, or None.

    A signal is passed on once. What one rank cannot do, the others cannot do without it.
    """
    failed, kill_at = None, float("inf")
    while any([rank.poll() is None for rank in ranks]):
        if interrupts.received and kill_at == float("inf"):
            kill_at = _end(ranks, interrupts.received, _SAVING_SECONDS)
        if failed is None and (failed := _first_failed(ranks, interrupts)) is not None:
            kill_at = _end(ranks, signal.SIGTERM, _FAILED_SECONDS)
        if time.monotonic() > kill_at:
            for rank in ranks:
                rank.kill()
        time.sleep(_CHECK_SECONDS)
    return _first_failed(ranks, interrupts) if failed is None else failed


def _end(ranks: Sequence[Rank], number: int, seconds: float) -> float:
    for rank in ranks:
        rank.send_signal(number)
    return time.monotonic() + seconds


def _first_failed(ranks: Sequence[Rank], interrupts: Interrupts) -> int | None:
    fine = {None, 0}
    if interrupts.received:
        # One that had not begun to handle signals has died of this one.
        fine |= {Interrupted.code_of(interrupts.received), -interrupts.received}
    failed = [number for number, rank in enumerate(ranks) if rank.returncode not in fine]
    # The death of one is why the connections of others broke.
    return min(failed, key=lambda number: (ranks[number].returncode >= 0, number), default=None)


def _failure(ranks: Sequence[Rank], failed: int) -> HifitseError:
    rank = ranks[failed]
    if rank.returncode < 0:
        return HifitseError(
            f"rank {failed} (process {rank.pid}) was killed by {signal.Signals(-rank.returncode).name}, which ended "
            "all ranks; hifitse resume goes on from the last checkpoint"
        )
    # The rank has said why.
    error = HifitseError("")
    error.exit_code = rank.returncode
    return error
