"""`catdog data check`: what in a folder of photos should be mended before a network is trained on it."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catdog.base.text import many, on_one_line
from catdog.data.duplicates import THUMBNAIL, Copies, find_copies
from catdog.data.listing import Listing
from catdog.errors import ImageError
from catdog.images.decoder import decode
from catdog.tools.dataset.layout import Finding, check_layout
from catdog.tools.dataset.scan import (
    Photo,
    Seen,
    list_all,
    list_splits,
    look_at_all,
    sizes_as_json,
    sizes_in_words,
    table,
)

BLANK = 5.0  # levels: a photo is blank whose pixels, 32 x 32 of them, deviate less in each channel
GREY = 6  # levels: a photo is grey whose channels differ no more, in any of these pixels
SMALL = 32  # pixels of the shorter side, below which a photo is noted as very small
UNEVEN = 3  # times as many photos of one class as of another are noted
_SHOWN = 5  # photos, or groups, listed under each finding
_PICTURED = 48  # and on the contact sheet
_OF_A_GROUP = 8  # photos that show the same, listed or drawn
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Look(NamedTuple):
    """What is kept of a photo. grey: uint8, 32 x 32."""

    height: int
    width: int
    grey: np.ndarray
    contrast: float
    colour: int


@dataclass(frozen=True)
class Report:
    """What was found in the folder `root`."""

    root: Path
    splits: dict[str, Listing]
    seen: Seen[Look]
    findings: list[Finding]

    @property
    def to_mend(self) -> bool:
        return any(finding.mend for finding in self.findings)

    @property
    def sizes(self) -> np.ndarray:
        """int, N x 2: height and width of each photo that can be read."""
        return np.array([(look.height, look.width) for look in self.seen.made], int).reshape(-1, 2)

    @property
    def grey(self) -> int:
        """How many photos have no colour."""
        return sum(look.colour <= GREY for look in self.seen.made)


def check(root: Path) -> Report:
    """Look at every photo below `root` once; nothing there is changed. CatdogError where `root` cannot be listed."""
    splits = list_splits(root)
    seen = look_at_all(root, list_all(splits), _look, (THUMBNAIL, THUMBNAIL), "looking at the photos")
    return Report(root, splits, seen, [*check_layout(root, splits), *_check_photos(root, splits, seen)])


def _look(photo: Photo, pixels: np.ndarray, size: tuple[int, int]) -> Look:
    contrast = pixels.reshape(-1, 3).astype(np.float32).std(axis=0).max()
    colour = int((pixels.max(axis=2) - pixels.min(axis=2)).max())
    return Look(*size, np.rint(pixels @ _LUMA).astype(np.uint8), float(contrast), colour)


def _check_photos(root: Path, splits: dict[str, Listing], seen: Seen[Look]) -> Iterator[Finding]:
    if seen.unreadable:
        items = [{"path": photo.path, "reason": reason} for photo, reason in seen.unreadable]
        message = f"{many(len(items), 'photo')} that cannot be read; training leaves them out."
        yield Finding("unreadable", True, message, items)
    yield from _check_copies(root, splits, seen)
    blank = [{"path": photo.path} for photo, look in zip(seen.photos, seen.made, strict=True) if look.contrast < BLANK]
    if blank:
        yield Finding("blank", True, f"{many(len(blank), 'blank or nearly blank photo')}; remove them.", blank)
    for split, listing in splits.items():
        counts = sorted(zip(listing.counts(), listing.classes, strict=True))
        if counts and 0 < UNEVEN * counts[0][0] <= counts[-1][0]:
            (fewest, rare), (most, common) = counts[0], counts[-1]
            where = f" in {split}" if split else ""
            message = (
                f"{most / fewest:.1f} times as many photos of {common} as of {rare}{where}; "
                f"calling everything {common} would be right {most / len(listing):.0%} of the time."
            )
            yield Finding("uneven", False, message)
    small = [
        {"path": photo.path}
        for photo, look in zip(seen.photos, seen.made, strict=True)
        if min(look.height, look.width) < SMALL
    ]
    if small:
        message = f"{many(len(small), 'very small photo')}, a side shorter than {SMALL} pixels."
        yield Finding("very_small", False, message, small)


def _check_copies(root: Path, splits: dict[str, Listing], seen: Seen[Look]) -> Iterator[Finding]:
    """The same photo more than once: with two labels, in two splits, or (neither) within a class."""
    grey = np.array([look.grey for look in seen.made], np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
    copies = find_copies([os.path.join(root, photo.path) for photo in seen.photos], grey)
    labels = [{seen.photos[i].label for i in group.members} for group in copies]
    places = [{seen.photos[i].split for i in group.members} for group in copies]
    both = list(zip(copies, labels, places, strict=True))

    def finding(kind: str, groups: list[Copies], what: str) -> Iterator[Finding]:
        if groups:
            items = [_as_item(group, seen.photos) for group in groups]
            yield Finding(kind, True, f"{many(len(groups), 'photo')} {what}", items)

    yield from finding(
        "copies_across_classes",
        [group for group, labels, _ in both if len(labels) > 1],
        "in two classes at once; keep each where it belongs.",
    )
    yield from finding(
        "copies_across_splits",
        [group for group, _, places in both if len(places) > 1],
        "in two splits at once, which makes a network look better than it is; keep each in one.",
    )
    aside = "" if "val" in splits else ", one of which may be set aside to validate on what was trained on"
    yield from finding(
        "copies_within_class",
        [group for group, labels, places in both if len(labels) == len(places) == 1],
        f"more than once within a class{aside}; keep one of each.",
    )


def _as_item(group: Copies, photos: Sequence[Photo]) -> dict[str, Any]:
    return {
        "paths": [photos[i].path for i in group.members],
        "mirrored": list(group.mirrored),
        "same_bytes": group.same_bytes,
    }


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    read = len(report.seen.photos)
    return {
        "folder": str(report.root),
        "photos": read + len(report.seen.unreadable),
        "to_mend": report.to_mend,
        "counts": {
            split: dict(zip(listing.classes, listing.counts(), strict=True)) for split, listing in report.splits.items()
        },
        "sizes": sizes_as_json(report.sizes),
        "greyscale": {"count": report.grey, "share": report.grey / read if read else 0.0},
        "findings": [asdict(finding) for finding in report.findings],
    }


def in_words(report: Report) -> str:
    """The report as a page of text."""
    read = len(report.seen.photos)
    lines = [*table(report.splits), "", f"sizes      {sizes_in_words(report.sizes)}"]
    if read:
        lines.append(f"greyscale  {many(report.grey, 'photo')}, {report.grey / read:.1%}")
    for mend, heading in ((True, "to mend"), (False, "worth knowing")):
        findings = [finding for finding in report.findings if finding.mend == mend]
        if findings:
            lines += ["", f"{heading}:"]
        for finding in findings:
            lines.append(f"- {on_one_line(finding.message)}")
            lines += [f"    {_item_in_words(item)}" for item in finding.items[:_SHOWN]]
            if len(finding.items) > _SHOWN:
                lines.append(f"    and {len(finding.items) - _SHOWN:,} more, which --json lists")
    if not report.to_mend:
        lines += ["", "nothing to mend"]
    return "\n".join(lines)


def _item_in_words(item: Any) -> str:
    if "paths" in item:
        pairs = list(zip(item["paths"], item["mirrored"], strict=True))
        names = [f"{on_one_line(path)}{' (mirrored)' if mirrored else ''}" for path, mirrored in pairs[:_OF_A_GROUP]]
        more = f" = {len(pairs) - _OF_A_GROUP:,} more" if len(pairs) > _OF_A_GROUP else ""
        return f"{' = '.join(names)}{more}{', the same bytes' if item['same_bytes'] else ''}"
    return on_one_line(f"{item['path']}: {item['reason']}" if "reason" in item else item["path"])


def draw_suspects(report: Report, path: Path) -> None:
    """A sheet of the photos that the findings are about; those that cannot be read are left out."""
    from catdog.drawing.contact_sheet import Cell, Section, draw_sheet, fit

    sizes = {p.path: (look.height, look.width) for p, look in zip(report.seen.photos, report.seen.made, strict=True)}

    def cells(item: Any) -> Iterator[Cell]:
        for name in item.get("paths", [item.get("path")])[:_OF_A_GROUP]:
            if name in sizes:
                try:
                    yield Cell(decode(report.root / name, fit(*sizes[name])), name)
                except ImageError:  # gone, or changed, since it was looked at
                    continue

    sections = []
    for finding in report.findings:
        groups = [group for item in finding.items[:_PICTURED] if (group := list(cells(item)))]
        if groups:
            sections.append(Section(finding.message, groups))
    draw_sheet(sections or [Section("nothing to mend", [])], path)


def main(folder: str, json_wanted: bool, out: str | None) -> int:
    """What `catdog data check` does; the exit status is 1 where something should be mended."""
    root = Path(folder)
    picture = None
    if out is not None:
        from catdog.drawing.contact_sheet import require_png

        picture = require_png(out, root)
    report = check(root)
    if picture is not None:
        draw_suspects(report, picture)
    if json_wanted:
        print(json.dumps(as_json(report)))
    else:
        print(in_words(report))
        if picture is not None:
            print(f"\nthe photos in question are on {on_one_line(str(picture))}")
    return 1 if report.to_mend else 0
