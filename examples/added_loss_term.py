"""Train with a loss term of your own: here, the mean absolute error of the waveform where the target speaks.

    python examples/added_loss_term.py [RUN] [STEPS]

A term is a number per sample. The objective sums it over the samples and divides by the counts of the whole step, so
micro-batches and ranks change nothing; the audit, the guards, validation and selection work as with any other term.
A run does not record code: train it further from Python, too.
"""

import sys

from torch import Tensor

import hifitse

WEIGHT = 2.0


class ObjectiveWithL1(hifitse.Objective):
    """The configured objective, and ``WEIGHT mean_P(mean |estimate - target|)``."""

    def weights(self, has_absent: bool) -> dict[str, float]:
        return {**super().weights(has_absent), "l1": WEIGHT}

    def present_term(self, name: str, estimate: Tensor, target: Tensor) -> Tensor:
        if name == "l1":
            return (estimate - target).abs().mean(-1)
        return super().present_term(name, estimate, target)


def main(run: str = "runs/added_loss_term", steps: str = "40") -> None:
    config = hifitse.load_config("demo", ["data.num_workers=0", "train.log_every=10"])
    trained = hifitse.train(config, run, stop_at=int(steps), objective=ObjectiveWithL1(config.loss))
    for row in trained.metrics:
        print(f"step {row['step']}: loss {row['loss']:.3f}, of which {WEIGHT:g} times l1 {row['terms.l1']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
