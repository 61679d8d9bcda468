"""How much of a long training is done twice where machines fail: a simulation, and the formula of Young and Daly."""

import math

import numpy as np

DAY = 86400.0


def best_interval(checkpoint: float, between_failures: float) -> float:
    """Seconds of work between two checkpoints: Young (1974), with Daly's (2006) terms of higher order.

    checkpoint: seconds that one stops the work for; between_failures: mean seconds between two failures of any machine.
    """
    if checkpoint >= 2 * between_failures:
        return between_failures
    part = checkpoint / (2 * between_failures)
    return math.sqrt(2 * checkpoint * between_failures) * (1 + math.sqrt(part) / 3 + part / 9) - checkpoint


def simulate(
    work: float, interval: float, checkpoint: float, restart: float, between_failures: float, rng: np.random.Generator
) -> tuple[float, float]:
    """(seconds that `work` seconds of work take, the seconds of them that were done twice).

    Failures come at random, as many an hour at any time (also while a checkpoint is written or a restart is under way);
    each costs the work since the last whole checkpoint, and `restart` seconds.
    """
    clock = done = lost = 0.0
    failure = rng.exponential(between_failures)
    while done < work:
        part = min(interval, work - done)
        if failure > clock + part + checkpoint:
            clock, done = clock + part + checkpoint, done + part
            continue
        lost += min(max(failure - clock, 0.0), part)
        clock = failure
        while True:  # until a restart is not broken off
            failure = clock + rng.exponential(between_failures)
            if failure > clock + restart:
                clock += restart
                break
            clock = failure
    return clock, lost
