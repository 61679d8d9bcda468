"""Chooses the batch size, and the learning rate with it, by the number of photos there are to train on."""

import math
from dataclasses import replace

from catdog.config.settings import Training

_LARGEST = 256  # photos in a batch that is chosen; the default learning rate is for this one


def with_batch_size(training: Training, photos: int, least: int = 1) -> Training:
    """`training` with a batch size where it leaves that open (0): a power of two for 8 to 16 steps an epoch, 8 to 256.

    least: photos that each part of a batch must hold. The default learning rate goes with the root of a batch that is
    chosen, as Adam's should (Malladi et al. 2022, https://arxiv.org/abs/2205.10287); any other rate is left alone.
    """
    if training.batch_size:
        return training
    size = max(least * training.accumulate, min(_LARGEST, max(8, 1 << (photos // 8).bit_length() >> 1)))
    rate = training.learning_rate
    if rate == Training().learning_rate:
        rate = float(f"{rate * math.sqrt(min(size, _LARGEST) / _LARGEST):.3g}")
    return replace(training, batch_size=size, learning_rate=rate)
