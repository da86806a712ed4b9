"""The causal attention model on a live signal: chunks in, chunks out, with a state of fixed size in between."""

import torch
from torch import Tensor

from hifitse.models.attention import AttentionModel
from hifitse.models.transformer import Memory


class StreamingAttention:
    """Extracts one voice from a mixture that comes in chunks of any length.

    Its output, joined, is that of the model on the whole mixture. A sample comes out once (n_fft + window) / 2 samples
    after it are there, in blocks of one hop: that is the latency of the algorithm, to which the time of a chunk and of
    its computation add.

    streaming = StreamingAttention(model, reference)
    for chunk in microphone:
        play(streaming(chunk))
    """

    def __init__(self, model: AttentionModel, reference: Tensor) -> None:
        """Listen to the reference (B, L').

        Raises:
            ValueError: the model looks ahead.
        """
        if not model.config.causal:
            raise ValueError("the model looks ahead; train one with model.causal=true")
        self.model = model
        self.stft = model.stft.config
        with torch.inference_mode():
            self.voice = model.listen(reference)
        self._past: list[Memory] | None = None
        self._energies = reference.new_zeros(len(reference), 0)
        self._num_received = self._num_given = 0
        self._last = reference.new_zeros(len(reference), 0)
        """The last samples, which the end of the signal mirrors."""
        self._heard: Tensor | None = None
        """Samples from the start of the next frame on; None until the first frame is there."""
        self._waiting = reference.new_zeros(len(reference), 0)
        self._sum = reference.new_zeros(len(reference), 0)
        self._weight = reference.new_zeros(0)
        self._to_skip = self.stft.n_fft // 2

    @property
    def latency_samples(self) -> int:
        """How many samples after it a sample of the output waits for, but for the rest of a hop."""
        return (self.stft.n_fft + self.stft.window) // 2

    @torch.inference_mode()
    def __call__(self, chunk: Tensor) -> Tensor:
        """Return what is ready, (B, N), after a chunk (B, L) of the mixture; N may be 0."""
        self._num_received += chunk.shape[1]
        self._last = torch.cat([self._last, chunk.float()], dim=1)[:, -self.stft.n_fft // 2 - 1 :]
        self._waiting = torch.cat([self._waiting, chunk.float()], dim=1)
        edge = self.stft.n_fft // 2
        if self._heard is None:
            if self._waiting.shape[1] <= edge:
                return chunk.new_zeros(len(chunk), 0)
            # The first frame is centred on the first sample: what would lie before it is its mirror image.
            self._heard = self._waiting[:, 1 : edge + 1].flip(-1)
        return self._frames(torch.cat([self._heard, self._waiting], dim=1))

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Return the rest (B, N), after the last chunk."""
        length, edge = self._num_received, self.stft.n_fft // 2
        missing = self.model.stft.padded_length(length) - length
        given = self._num_given
        parts = [self(self._sum.new_zeros(len(self._sum), missing))]
        assert self._heard is not None, "the padding fills the first frame"
        parts.append(self._frames(torch.cat([self._heard, self._last[:, -edge - 1 : -1].flip(-1)], dim=1)))
        ready = self._sum / self._weight.clamp_min(torch.finfo(torch.float32).tiny)
        parts.append(ready[:, self._to_skip :])
        return torch.cat(parts, dim=1)[:, : length - given]

    def _frames(self, samples: Tensor) -> Tensor:
        """Process the frames that are whole in samples (B, L), which begin with the next frame."""
        n_fft, hop = self.stft.n_fft, self.stft.hop
        count = max((samples.shape[1] - n_fft) // hop + 1, 0)
        self._heard, self._waiting = samples[:, count * hop :], samples[:, :0]
        if count == 0:
            return samples[:, :0]
        window = self.model.stft.window
        padded = torch.nn.functional.pad(window, ((n_fft - len(window)) // 2, (n_fft - len(window) + 1) // 2))
        spectrum = torch.fft.rfft(samples[:, : (count - 1) * hop + n_fft].unfold(1, n_fft, hop) * padded)
        power = spectrum.abs().square()
        energy = power.mean(dim=-1)
        level = self.model.causal_level(energy, self._energies)
        self._energies = torch.cat([self._energies, energy], dim=1)[:, -self.model.config.context_frames :]
        mask, self._past = self.model.masks(power, level, self.voice, self._past)
        frames = torch.fft.irfft(spectrum * mask, n_fft) * padded
        return self._overlapped(frames, padded.square())

    def _overlapped(self, frames: Tensor, weight: Tensor) -> Tensor:
        """Add frames (B, T, n_fft) to what is not complete, and return what is."""
        n_fft, hop = self.stft.n_fft, self.stft.hop
        count = frames.shape[1]
        missing = (count - 1) * hop + n_fft - self._sum.shape[1]
        total = torch.nn.functional.pad(self._sum, (0, missing))
        weights = torch.nn.functional.pad(self._weight, (0, missing))
        for number in range(count):
            total[:, number * hop : number * hop + n_fft] += frames[:, number]
            weights[number * hop : number * hop + n_fft] += weight
        # The next frame begins here, with zeros where its window is shorter.
        done = count * hop
        self._sum, self._weight = total[:, done:], weights[done:]
        ready = total[:, self._to_skip : done] / weights[self._to_skip : done]
        self._to_skip = max(self._to_skip - done, 0)
        self._num_given += ready.shape[1]
        return ready
