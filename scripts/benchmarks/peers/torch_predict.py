"""Predict with torch and torchvision alone: one photo, or a folder by a DataLoader."""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peers.common import MEAN, STD, mlp


class Photos(Dataset[Tensor]):
    def __init__(self, paths: list[Path], image_size: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [transforms.Resize((image_size, image_size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 1024, 1024])
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    model = mlp(args.image_size, args.hidden)
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    model.eval()
    paths = sorted(p for p in args.photos.rglob("*") if p.is_file()) if args.photos.is_dir() else [args.photos]
    loader = DataLoader(Photos(paths, args.image_size), batch_size=64, num_workers=args.workers)
    done = iter(paths)
    with torch.no_grad():
        for images in loader:
            for probabilities in model(images).softmax(1):
                label = int(probabilities.argmax())
                print(f"{('cat', 'dog')[label]} {probabilities[label]:.1%}  {next(done)}")


if __name__ == "__main__":
    main()
