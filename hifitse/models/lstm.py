"""An LSTM that stays in float32."""

import torch
from torch import Tensor, nn


class Float32LSTM(nn.LSTM):
    """An LSTM of float32 inputs and weights, whatever autocast says; TF32 may be used inside.

    cuDNN's RNNs are cast to float16 under autocast, also where bfloat16 was asked for (ATen/cudnn/AutocastRNN.cpp), and
    without a loss scale most of their gradient underflows at the start of a training. An LSTM waits for its own steps
    rather than for arithmetic, so half precision would hardly be faster.
    """

    def __call__(self, features: Tensor) -> Tensor:
        """Return (B, T, H) for features (B, T, D) of any floating type."""
        with torch.autocast(features.device.type, enabled=False):
            output: Tensor = super().__call__(features.float())[0]
        return output
