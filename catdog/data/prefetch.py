"""Photos that do not fit on the GPU: their pixels stay in main memory, and each batch is copied ahead of its use."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from catdog.data.dataset import PhotoSet
from catdog.data.pixel_cache import Skipped

_AHEAD = 2  # batches on their way while one is computed with


class PinnedPhotos:
    """The photos of a `PhotoSet`, as a `catdog.data.feed.Feed` whose batches are on another device than its pixels.

    A batch is gathered by a thread into pinned memory, that is, memory which the system does not move, so that the GPU
    fetches it by itself, on a stream of its own, while it computes with the batch before. Nobody waits for the copy but
    the GPU.
    """

    def __init__(self, photos: PhotoSet) -> None:
        self.photos = photos
        self.labels = photos.labels
        self.classes = photos.classes
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def image_size(self) -> tuple[int, int]:
        return self.photos.image_size

    @property
    def skipped(self) -> Sequence[Skipped]:
        return self.photos.skipped

    def to(self, device: torch.device) -> "PinnedPhotos":
        self.device = device
        self.labels = self.labels.to(device)
        return self

    def batches(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each of `batches`, the row numbers (int64) of photos: them, and the photos' pixels, on the device."""
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        on_their_way: deque[Future[tuple[Tensor, Tensor, torch.cuda.Event | None]]] = deque()
        pool = ThreadPoolExecutor(1)
        try:
            for number in range(len(batches) + _AHEAD):
                if number < len(batches):
                    on_their_way.append(pool.submit(self._copy, batches[number], stream))
                if number >= _AHEAD:
                    rows, pixels, arrival = on_their_way.popleft().result()
                    if arrival is not None:
                        now = torch.cuda.current_stream(self.device)
                        now.wait_event(arrival)
                        for tensor in (rows, pixels):
                            tensor.record_stream(now)  # its memory is not given away before that has used it
                    yield rows, pixels
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _copy(self, rows: Tensor, stream: torch.cuda.Stream | None) -> tuple[Tensor, Tensor, torch.cuda.Event | None]:
        pinned = stream is not None
        rows = rows.pin_memory() if pinned else rows
        pixels = torch.empty(len(rows), *self.photos.pixels.shape[1:], dtype=torch.uint8, pin_memory=pinned)
        torch.index_select(self.photos.pixels, 0, rows, out=pixels)
        with torch.cuda.stream(stream):
            rows, pixels = rows.to(self.device, non_blocking=True), pixels.to(self.device, non_blocking=True)
        return rows, pixels, None if stream is None else stream.record_event()
