"""``--ranks N``: the same command again in N processes, by torch's own elastic launcher."""

import logging
import os
import signal
import sys
import uuid

from hifitse.errors import HifitseError, Interrupted

_GRACE_SECONDS = 600
"""How long ranks may take to end their step and save it after a signal. When one of them fails, torch gives the others
30 seconds."""


def launch_ranks(num_ranks: int) -> bool:
    """Run this process's command line in ``num_ranks`` processes, until all have ended well.

    Returns:
        False if there is nothing to launch: one rank, or this is one of them already.

    Raises:
        Interrupted: a signal ended them, their state saved.
        HifitseError: one of them failed; it carries the rank's exit code.
    """
    if num_ranks == 1 or "RANK" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The ranks say what there is to say; the launcher would say it again, with tracebacks.
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_GRACE_SECONDS))
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // num_ranks, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_ranks,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGUSR1",
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hifitse", *sys.argv[1:])
        return True
    except SignalException as ended:
        raise Interrupted("interrupted; the ranks have ended", signal.Signals(ended.sigval)) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode >= 0:
            # The rank has said why.
            error = HifitseError("")
            error.exit_code = failure.exitcode
        else:
            name = signal.Signals(-failure.exitcode).name
            error = HifitseError(
                f"rank {rank} (process {failure.pid}) was killed by {name}, which ended all ranks; "
                "hifitse resume goes on from the last checkpoint"
            )
        raise error from None
    finally:
        logging.disable(logging.NOTSET)
