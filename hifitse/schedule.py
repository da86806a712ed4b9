"""Cadence and learning rate as functions of the step. No torch, no state."""

import math

from hifitse.config.schema import TrainConfig


def is_due(step: int, every: int) -> bool:
    """Tell whether something that happens every ``every`` steps happens after ``step`` completed steps."""
    return step > 0 and step % every == 0


def learning_rate(config: TrainConfig, step: int, optimizer_reset_step: int = 0) -> float:
    """Return the learning rate of the step with this index (the first step has index 0).

    Linear warm-up, then a cosine from the peak to the floor. After a reset of the optimizer at step r > 0
    the schedule stays at the step's place, but rises to it over ``rewarmup_steps``, since fresh
    AdamW moments make the first updates large and badly directed.
    """
    if step < config.warmup_steps:
        rate = config.learning_rate * (step + 1) / config.warmup_steps
    else:
        progress = min((step - config.warmup_steps) / (config.total_steps - config.warmup_steps), 1.0)
        span = config.learning_rate - config.min_learning_rate
        rate = config.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * progress))
    if optimizer_reset_step > 0 and config.rewarmup_steps > 0:
        rate *= min((step - optimizer_reset_step + 1) / config.rewarmup_steps, 1.0)
    return rate


def ema_decay(config: TrainConfig, step: int) -> float:
    """Return the decay of the EMA weights; lower at first, so that the start is soon forgotten."""
    return min(config.ema_decay, (1 + step) / (10 + step))
