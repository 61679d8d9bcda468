"""The training loop of PyTorch's tutorials: ImageFolder, transforms, DataLoader, Adam."""

import argparse
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers.common import MEAN, STD, arguments, mlp
from benchmarks.peers.lines import say

Batches = Iterable[tuple[Tensor, Tensor]]


def folders(args: argparse.Namespace) -> tuple[datasets.ImageFolder, datasets.ImageFolder]:
    """The photos to train on and those to validate on."""
    transform = transforms.Compose(
        [
            transforms.Resize((args.image_size, args.image_size)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return datasets.ImageFolder(f"{args.data}/train", transform), datasets.ImageFolder(f"{args.data}/val", transform)


def train(args: argparse.Namespace, train_loader: Batches, val_loader: Batches) -> None:
    """The loop, over any loaders."""
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
        right = asked = 0
        with torch.no_grad():
            for images, labels in val_loader:
                right += int((model(images).argmax(1) == labels).sum())
                asked += len(images)
        say(epoch=epoch, photos_per_second=photos / seconds, accuracy=right / asked)
    if args.out:
        torch.save(model.state_dict(), args.out)


def main() -> None:
    args = arguments(__doc__)
    torch.manual_seed(args.seed)
    train_set, val_set = folders(args)
    train(
        args,
        DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=args.workers),
        DataLoader(val_set, batch_size=args.batch_size, num_workers=args.workers),
    )


if __name__ == "__main__":
    main()
