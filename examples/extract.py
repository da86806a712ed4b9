"""Extract a voice from a recording with a trained model, from Python.

    python examples/extract.py runs/demo mixture.wav reference.wav voice.wav

The first argument is a run, or a model that `hifitse export` wrote.
"""

import sys

import soundfile

import hifitse


def main(source: str, mixture_file: str, reference_file: str, output_file: str) -> None:
    extractor = hifitse.load(source)
    mixture, rate = soundfile.read(mixture_file, dtype="float32")
    reference, reference_rate = soundfile.read(reference_file, dtype="float32")
    assert rate == reference_rate, "mixture and reference have one sample rate"
    voice = extractor(mixture, reference, sample_rate=rate)
    soundfile.write(output_file, voice, rate, subtype="FLOAT")
    print(f"{len(voice) / rate:.1f} s of the reference speaker's voice in {output_file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
