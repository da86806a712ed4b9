"""Serving the page on this machine, to this machine alone."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hifitse.errors import UsageError

HOST = "127.0.0.1"
_GRACE_SECONDS = 1
"""For what is being sent when the server ends."""


@contextmanager
def held_port(port: int) -> Iterator[socket.socket]:
    """Hold a port of this machine; 0: a free one.

    Raises:
        UsageError: it is in use, or not ours to use.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((HOST, port))
            held.listen()
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}; give another one, or 0 for any") from None
        yield held


@contextmanager
def passing_folder() -> Iterator[Path]:
    """Yield a folder for all that is uploaded and extracted; nobody's voice stays behind."""
    with tempfile.TemporaryDirectory(prefix="hifitse_listen_") as name:
        # Where gradio puts what it is given; it looks when it is imported.
        os.environ["GRADIO_TEMP_DIR"] = name
        yield Path(name)


def serve(build: Callable[[Callable[[], bool]], object], port: socket.socket, ready: Callable[[], None]) -> None:
    """Serve a page until a signal comes.

    Args:
        build: returns the page, a `gradio.Blocks`; it gets a function that tells whether the serving ends.
        ready: called once the page can be opened.
    """
    import gradio
    import uvicorn
    from fastapi import FastAPI

    from hifitse.listening.page import STYLE, THEME

    app = FastAPI(openapi_url=None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=_GRACE_SECONDS))
    page = build(lambda: server.should_exit)
    gradio.mount_gradio_app(app, page, "/", footer_links=[], run_history=False, ssr_mode=False, theme=THEME, css=STYLE)
    # In a thread, where uvicorn leaves signals to the command line.
    thread = threading.Thread(target=server.run, args=([port],))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        ready()
        thread.join()
    finally:
        server.should_exit = True
        thread.join()
