"""The page: mixture and reference go in, the voice comes out. Nothing on it comes from another host."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hifitse.errors import HifitseError
from hifitse.listening.choices import Choices
from hifitse.listening.examples import Example
from hifitse.listening.extraction import PICTURED_SECONDS, hear

THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
"""With the fonts of the system: those of gradio's own themes are fetched."""
STYLE = "#picture * { padding: 0 } #picture img { width: 100%; height: 18rem } .dark #picture img { filter: invert(1) }"


def build_page(
    name: str,
    choices: Choices,
    examples: Sequence[Example],
    folder: Path,
    device: torch.device,
    is_ending: Callable[[], bool],
) -> Any:
    """Return the page, a `gradio.Blocks`.

    Args:
        name: of the run or the model.
        folder: takes what is extracted.
        is_ending: tells whether the serving ends, and extractions with it.
    """
    shown = gr.Progress()

    def extract(source: str, mixture: str | None, reference: str | None, progress: gr.Progress = shown) -> Any:
        if not mixture or not reference:
            missing = "reference: a recording of the wanted speaker alone" if mixture else "mixture"
            raise gr.Error(f"Give a {missing}", duration=None, print_exception=False)

        def advance(share: float) -> None:
            if is_ending():
                raise HifitseError("hifitse listen ends")
            progress(share, desc="extracting")

        try:
            heard = hear(source, Path(mixture), Path(reference), folder, device, advance)
        except HifitseError as error:
            # Nobody knows the folders of the recordings that they gave.
            said = str(error).replace(f"{Path(mixture).parent}/", "").replace(f"{Path(reference).parent}/", "")
            raise gr.Error(said, duration=None, print_exception=False) from None
        return str(heard.voice), heard.words, _figure(heard.picture)

    def look_again() -> gr.Dropdown:
        found, first = choices.now()
        return gr.Dropdown(choices=[(choice.label, choice.source) for choice in found], value=first)

    with gr.Blocks(title=f"hifitse · {name}", analytics_enabled=False) as blocks:
        gr.Markdown(
            f"# hifitse · {name}\nA mixture of voices and a recording of one of them go in, that voice comes out."
        )
        with gr.Row():
            mixture = gr.Audio(label="Mixture", type="filepath", buttons=["download"], elem_id="mixture")
            reference = gr.Audio(label="Reference", type="filepath", buttons=["download"], elem_id="reference")
        if examples:
            gr.Examples(
                [[str(example.mixture), str(example.reference)] for example in examples],
                [mixture, reference],
                example_labels=[example.label for example in examples],
                label="Scenes of the validation",
            )
        with gr.Row(equal_height=True):
            model = gr.Dropdown(label="Model", elem_id="model", scale=3)
            button = gr.Button("Extract", variant="primary", elem_id="extract", min_width=200)
        voice = gr.Audio(label="Extracted voice", interactive=False, buttons=["download"], elem_id="voice")
        words = gr.Markdown(elem_id="words")
        picture = gr.HTML(elem_id="picture")
        button.click(extract, [model, mixture, reference], [voice, words, picture], api_name="extract")
        blocks.load(look_again, None, model, api_name="models")
    return blocks


def _figure(picture: NDArray[np.uint8]) -> str:
    """Return a grey picture (H, W) with its caption as HTML."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    caption = f"The mixture above, the voice below: 0 Hz to half of the model's rate, up to {PICTURED_SECONDS} s."
    return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt=""><p>{caption}</p>'
