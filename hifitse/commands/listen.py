"""hifitse listen: a page to hear what a model makes of recordings."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import DeviceOption, ModelOption, OfRunOption
from hifitse.commands._setup import named_model, progress_bar, resolve
from hifitse.console import info, print_line
from hifitse.errors import HifitseError, UsageError

if TYPE_CHECKING:
    from hifitse.config.schema import Config
    from hifitse.listening.examples import Example

app = new_app()

_EXAMPLES = Path("demo")
"""The configuration whose scenes are there to begin with, where there is no run."""


@command(app, "hifitse listen", "hifitse listen demo --from 1200 --port 8000")
def listen(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Name under runs/, or a path (default: the run of the configuration here).",
            autocompletion=_complete.runs,
        ),
    ] = None,
    model: ModelOption = None,
    source: OfRunOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="Of this machine; 0: any.")] = 7860,
    device: DeviceOption = "auto",
) -> None:
    """Open a page on this machine to hear what a model makes of recordings.

    Mixture and reference are uploaded or recorded; the checkpoints of the run can be switched. Nothing leaves this
    machine, and nothing stays behind.
    """
    if find_spec("gradio") is None:
        raise UsageError("gradio is not installed; pip install 'hifitse[demo]'")
    model = named_model(model, source, None, run, None)
    config, found = resolve(None, run, None) if model is None else (None, None)
    if found:
        found.require()
    from hifitse.checkpoint.export import find_model, load_trained
    from hifitse.config.files import find_config, load_config
    from hifitse.experiment import pick_device
    from hifitse.listening.choices import Choices
    from hifitse.listening.server import HOST, held_port, passing_folder, serve
    from hifitse.metrics import metric

    chosen_device = pick_device(device)
    settings = config or load_config(find_config(_EXAMPLES))
    choices = Choices(found, metric(settings.selection.metric), model or source)
    kind, name = ("run", found.name) if found else ("model", Path(str(model)).name)
    with held_port(port) as held, passing_folder() as folder:
        info(f"extracting with step {load_trained(find_model(choices.now()[1])).step} of {kind} {name}")
        examples = _examples(settings, folder / "examples")
        # Gradio, which looks for that folder when it is imported.
        from hifitse.listening.page import build_page

        def ready() -> None:
            print_line(f"http://{HOST}:{held.getsockname()[1]}")
            sys.stdout.flush()
            info("open it in a browser; Ctrl-C ends it")

        serve(lambda ends: build_page(name, choices, examples, folder, chosen_device, ends), held, ready)


def _examples(config: "Config", folder: Path) -> "list[Example]":
    from hifitse.listening.examples import write_examples

    try:
        with progress_bar() as progress:
            return write_examples(config, folder, progress)
    except HifitseError as error:
        info(f"no examples: {error}")
        return []
