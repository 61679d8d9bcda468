"""The order of photos that are brought from a store: shards shuffled, then photos within windows of shards."""

import numpy as np
import pytest

from catdog.data.batches import shuffled_batches
from catdog.data.shard_order import WINDOW


def order(photos: int, seed: int, epoch: int, shards: np.ndarray | None) -> np.ndarray:
    return np.concatenate([batch.numpy() for batch in shuffled_batches(photos, 7, seed, epoch, shards)])


def test_of_few_shards_it_is_the_full_shuffle() -> None:
    shards = np.random.default_rng(0).integers(0, WINDOW, 500)
    np.testing.assert_array_equal(order(500, 3, 2, shards), order(500, 3, 2, None))


def test_each_photo_comes_once_and_a_window_of_shards_is_used_up_before_the_next() -> None:
    shards = np.random.default_rng(1).integers(0, 5 * WINDOW - 3, 4000)
    found = order(4000, 0, 0, shards)
    assert sorted(found.tolist()) == list(range(4000))
    met: list[set[int]] = [set()]
    for shard in shards[found].tolist():
        if shard not in met[-1] and len(met[-1]) == WINDOW:
            met.append(set())
        met[-1].add(shard)
    assert len(met) == 5
    assert sum(map(len, met)) == len(set(shards.tolist()))  # no shard is met in two windows


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0)])
def test_another_seed_or_epoch_is_another_order_and_the_same_the_same(seed: int, epoch: int) -> None:
    shards = np.repeat(np.arange(4 * WINDOW), 20)
    first = order(len(shards), 0, 0, shards)
    np.testing.assert_array_equal(first, order(len(shards), 0, 0, shards))
    other = order(len(shards), seed, epoch, shards)
    assert (first != other).mean() > 0.9
    assert set(shards[first[:320]].tolist()) != set(shards[other[:320]].tolist())


def test_of_several_processes_each_finds_its_slice_in_shards_of_its_own() -> None:
    """Which matters where each machine brings what it needs."""
    shards = np.random.default_rng(2).permutation(np.repeat(np.arange(4 * WINDOW), 400))
    batches = shuffled_batches(len(shards), len(shards) // 128, 0, 0, shards)
    of_first_window = batches[: WINDOW * 400 // 128]
    met: list[set[int]] = [set() for _ in range(8)]
    for batch in of_first_window:
        for rank in range(8):
            met[rank] |= set(shards[batch.numpy()[16 * rank : 16 * rank + 16]].tolist())
    assert len(set.union(*met)) == WINDOW
    assert np.mean([len(own) for own in met]) < 6  # two, and those at the borders
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)
