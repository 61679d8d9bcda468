"""The same work by fastai: ImageDataLoaders.from_folder and a Learner."""

import time

import torch
from fastai.vision.all import (
    Adam,
    Callback,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    imagenet_stats,
    set_seed,
)

from benchmarks.peers.common import arguments, mlp
from benchmarks.peers.lines import say


class Report(Callback):
    """Says after each epoch how quick it was and how often it is right."""

    def before_train(self) -> None:
        self.started = time.perf_counter()

    def after_train(self) -> None:
        self.seconds = time.perf_counter() - self.started

    def after_epoch(self) -> None:
        say(
            epoch=self.epoch + 1,
            photos_per_second=len(self.dls.train_ds) / self.seconds,
            accuracy=float(self.learn.metrics[0].value),
        )


def main() -> None:
    args = arguments(__doc__)
    set_seed(args.seed)
    dls = ImageDataLoaders.from_folder(
        args.data,
        train="train",
        valid="val",
        item_tfms=Resize(args.image_size, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
        bs=args.batch_size,
        num_workers=args.workers,
        device=torch.device("cpu"),
    )
    learn = Learner(
        dls,
        mlp(args.image_size, args.hidden),
        loss_func=CrossEntropyLossFlat(),
        opt_func=Adam,
        metrics=accuracy,
        cbs=Report(),
    )
    say(begin=1)
    with learn.no_bar(), learn.no_logging():
        learn.fit(args.epochs, lr=1e-3)
    if args.out:
        torch.save(learn.model.state_dict(), args.out)


if __name__ == "__main__":
    main()
