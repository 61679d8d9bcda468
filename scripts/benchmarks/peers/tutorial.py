"""The training loop of PyTorch's tutorials: ImageFolder, transforms, DataLoader, Adam."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers.common import MEAN, STD, arguments, mlp
from benchmarks.peers.lines import say


def main() -> None:
    args = arguments(__doc__)
    torch.manual_seed(args.seed)
    transform = transforms.Compose(
        [
            transforms.Resize((args.image_size, args.image_size)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    train_set = datasets.ImageFolder(f"{args.data}/train", transform)
    val_set = datasets.ImageFolder(f"{args.data}/val", transform)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=args.workers)
    val_loader = DataLoader(val_set, batch_size=args.batch_size, num_workers=args.workers)
    model = mlp(args.image_size, args.hidden)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    say(begin=1)
    for epoch in range(1, args.epochs + 1):
        started = time.perf_counter()
        model.train()
        for images, labels in train_loader:
            loss = loss_fn(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds = time.perf_counter() - started
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in val_loader:
                right += int((model(images).argmax(1) == labels).sum())
        say(epoch=epoch, photos_per_second=len(train_set) / seconds, accuracy=right / len(val_set))
    if args.out:
        torch.save(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
