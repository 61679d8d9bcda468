"""The tutorial's loop on timm's data loader."""

import time

import torch
from timm.data import create_dataset, create_loader
from torch import nn

from benchmarks.peers.common import MEAN, STD, arguments, mlp
from benchmarks.peers.lines import say


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
    train_loader, val_loader = loaders["train"], loaders["val"]
    model = mlp(args.image_size, args.hidden)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    say(begin=1)
    for epoch in range(1, args.epochs + 1):
        started = time.perf_counter()
        model.train()
        photos = 0
        for images, labels in train_loader:
            loss = loss_fn(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            photos += len(images)
        seconds = time.perf_counter() - started
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in val_loader:
                right += int((model(images).argmax(1) == labels).sum())
        say(epoch=epoch, photos_per_second=photos / seconds, accuracy=right / len(val_loader.dataset))
    started = time.perf_counter()
    photos = sum(len(images) for images, _ in train_loader)
    say(loader_photos_per_second=photos / (time.perf_counter() - started))
    if args.out:
        torch.save(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
