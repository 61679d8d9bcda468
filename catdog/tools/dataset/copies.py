"""Finds photos that show the same: byte for byte, or saved again, resized or mirrored.

Near copies are found without a perceptual hash: that rounds each photo to 64 bits, so that the bits of all pairs can be
counted; here small grey pictures of all photos are compared with each other as one matrix product, which takes no
longer and rounds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catdog.data.duplicates import exact_copies

THUMBNAIL = 32  # pixels a side of the grey pictures that are compared
# Bounds on how a copy correlates with its photo: in 8 x 8 pixels, and in the details that these leave out, which tell
# apart two photos with the same light and dark places. docs/data.md says how well that does.
_LIKE = 0.94
_LIKE_IN_DETAIL = 0.9
_COARSE = 8
_BLOCK = 2048  # photos compared with as many others at a time: 16 MiB of correlations


@dataclass(frozen=True)
class Copies:
    """The photos (indices, ascending) that show the same, and for each whether it shows the first one mirrored."""

    members: tuple[int, ...]
    mirrored: tuple[bool, ...]
    same_bytes: bool


def find_copies(paths: Sequence[str], grey: np.ndarray) -> list[Copies]:
    """All groups of copies, exact and near, among photos at `paths` with thumbnails `grey`: uint8, N x 32 x 32.

    Near copies are the same photo saved again, resized, mirrored, made grey or a little brighter; not one that is
    turned, framed, or cut by more than a hundredth. The comparison takes N squared / 2 products of 64 numbers.
    """
    exact = exact_copies(paths)
    group, mirrored = near_copies(grey, exact)
    members: dict[int, list[int]] = {}
    for index in np.flatnonzero(np.bincount(group, minlength=len(group))[group] > 1).tolist():
        members.setdefault(int(group[index]), []).append(index)
    wholly_exact = set(map(tuple, exact))
    return [
        Copies(tuple(m), tuple((mirrored[m] != mirrored[m[0]]).tolist()), tuple(m) in wholly_exact)
        for m in sorted(members.values())
    ]


def near_copies(grey: np.ndarray, known: Sequence[Sequence[int]] = ()) -> tuple[np.ndarray, np.ndarray]:
    """-> (int N: a number that copies share, bool N: whether mirrored against others of the group).

    grey: uint8, N x 32 x 32; known: groups of photos that are copies for certain.
    """
    group, mirrored = np.arange(len(grey)), np.zeros(len(grey), bool)
    for representative, *rest in known:
        group[rest] = representative
    coarse, flipped = _coarse(grey), _coarse(grey[:, :, ::-1])
    for top in range(0, len(grey), _BLOCK):
        for left in range(top, len(grey), _BLOCK):
            for flip, compared in ((False, coarse), (True, flipped)):
                alike = coarse[top : top + _BLOCK] @ compared[left : left + _BLOCK].T >= _LIKE
                if top == left:
                    alike = np.triu(alike, 1)
                rows, columns = np.flatnonzero(alike.any(axis=1)), np.flatnonzero(alike.any(axis=0))
                if not len(rows):
                    continue
                others = grey[left + columns, :, ::-1] if flip else grey[left + columns]
                in_detail = _detail(grey[top + rows]) @ _detail(others).T >= _LIKE_IN_DETAIL
                first, second = np.nonzero(alike[np.ix_(rows, columns)] & in_detail)
                _join(group, mirrored, top + rows[first], left + columns[second], flip)
    return group, mirrored


def _join(group: np.ndarray, mirrored: np.ndarray, first: np.ndarray, second: np.ndarray, flip: bool) -> None:
    """Put the photos first[i] and second[i] into one group; pairs that already are in one are passed over quickly."""
    for start in range(0, len(first), _BLOCK):
        a, b = first[start : start + _BLOCK], second[start : start + _BLOCK]
        apart = group[a] != group[b]
        for i, j in zip(a[apart].tolist(), b[apart].tolist(), strict=True):
            if group[i] != group[j]:
                joined = group == group[j]
                mirrored[joined] ^= bool(mirrored[i]) ^ bool(mirrored[j]) ^ flip
                group[joined] = group[i]


def _coarse(grey: np.ndarray) -> np.ndarray:
    """The 8 x 8 picture of each photo as a float32 vector, N x 64, of mean 0 and length 1 (0 where it is blank)."""
    return _unit(_means(grey).reshape(-1, _COARSE**2))


def _detail(grey: np.ndarray) -> np.ndarray:
    """What the 8 x 8 picture leaves out, as a vector of the same kind, N x 1024."""
    factor = THUMBNAIL // _COARSE
    smooth = _means(grey).repeat(factor, axis=1).repeat(factor, axis=2)
    return _unit((grey - smooth).reshape(-1, THUMBNAIL**2))


def _means(grey: np.ndarray) -> np.ndarray:
    factor = THUMBNAIL // _COARSE
    cells = grey.reshape(len(grey), _COARSE, factor, _COARSE, factor)
    return cells.mean(axis=(2, 4), dtype=np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3)
