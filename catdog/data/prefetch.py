"""Batches of a PhotoDataset through torch's DataLoader; to another device than the pixels' they are copied ahead."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from catdog.data.photo_dataset import PhotoBatch, PhotoDataset

_AHEAD = 3  # batches on their way while one is computed with


def load_batches(photos: PhotoDataset, batches: Sequence[Tensor]) -> Iterator[PhotoBatch]:
    """For each of `batches`, row numbers (int64, B): the photos that can be read, on the folder's `device`."""
    if not photos.is_decoded:
        from catdog.data.remote import read_ahead

        batches = read_ahead(photos.listing, batches)  # type: ignore[assignment]
    loader: DataLoader[Any] = DataLoader(
        photos,
        batch_sampler=batches,  # type: ignore[arg-type]  # tensors, which need not become lists on their way
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),  # of its own, since each epoch takes a number from it that is not used here
    )
    # On the CPU, what decodes a batch ahead and what computes would hold each other up.
    return prefetch(iter(loader), photos.device) if photos.needs_copies else iter(loader)


def prefetch(batches: Iterator[PhotoBatch], device: torch.device) -> Iterator[PhotoBatch]:
    """The same batches on `device`, made and copied by a thread ahead of their use.

    A GPU fetches them by itself, on a stream of its own, while it computes with the batch before, if they are in pinned
    memory. Nobody waits for the copy but the GPU.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch() -> tuple[PhotoBatch, torch.cuda.Event | None] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(stream):
            rows, pixels = (tensor.to(device, non_blocking=True) for tensor in (batch.rows, batch.pixels))
        return PhotoBatch(rows, pixels, batch.folder_labels), None if stream is None else stream.record_event()

    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(fetch) for _ in range(_AHEAD))
        while (arrived := coming.popleft().result()) is not None:
            batch, arrival = arrived
            if arrival is not None:
                now = torch.cuda.current_stream(device)
                now.wait_event(arrival)
                for tensor in (batch.rows, batch.pixels):
                    tensor.record_stream(now)  # its memory is not given away before that has used it
            coming.append(pool.submit(fetch))
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
