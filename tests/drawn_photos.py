"""Folders of drawings, which unlike noise survive being resized and compressed."""

from pathlib import Path

from catdog.data.drawn import draw


def save(path: Path, label: str, seed: int, size: tuple[int, int] = (60, 80)) -> Path:
    """A drawing of a cat or a dog, as the kind of file that the path's ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(label, seed, size).save(path, quality=95)
    return path


def fill(folder: Path, count: int = 3, first: int = 0) -> Path:
    """folder/cat/cat.0.jpg and so on, `count` of each class, numbered from `first`."""
    for label in ("cat", "dog"):
        for seed in range(first, first + count):
            save(folder / label / f"{label}.{seed}.jpg", label, seed)
    return folder


def touch(root: Path, *names: str) -> None:
    """Files that hold no photo."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no photo")
