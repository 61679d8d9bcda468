"""The tutorial's loop on timm's data loader."""

import time

import torch
from timm.data import create_dataset, create_loader

from benchmarks.peers.common import MEAN, STD, arguments
from benchmarks.peers.lines import say
from benchmarks.peers.tutorial import train


def main() -> None:
    args = arguments(__doc__)
    torch.manual_seed(args.seed)
    loaders = {}
    for split in ("train", "val"):
        loaders[split] = create_loader(
            create_dataset("", root=args.data, split=split),
            input_size=(3, args.image_size, args.image_size),
            batch_size=args.batch_size,
            is_training=split == "train",
            no_aug=True,
            use_prefetcher=False,
            crop_pct=1.0,
            crop_mode="squash",
            interpolation="bilinear",
            mean=MEAN,
            std=STD,
            num_workers=args.workers,
            device=torch.device("cpu"),
        )
    train(args, loaders["train"], loaders["val"])
    started = time.perf_counter()
    photos = sum(len(images) for images, _ in loaders["train"])
    say(loader_photos_per_second=photos / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
