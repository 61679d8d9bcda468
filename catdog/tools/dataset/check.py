"""`catdog data check`: finds what should be corrected in a folder of photos before a network is trained on it."""

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catdog.base.output import json_line
from catdog.base.progress import working
from catdog.base.text import many, on_one_line
from catdog.data.listing import Listing
from catdog.data.names import look_alike, quoted
from catdog.data.remote import local_folder
from catdog.errors import ImageError
from catdog.images.decoder import decode
from catdog.tools.dataset.copies import THUMBNAIL, Copies, find_copies
from catdog.tools.dataset.layout import Finding, check_layout
from catdog.tools.dataset.scan import (
    Photo,
    Scan,
    list_all,
    list_splits,
    scan_photos,
    sizes_as_json,
    sizes_as_text,
    table,
)

BLANK = 5.0  # levels of 255: a photo is blank if the standard deviation of each channel, at 32 x 32 pixels, is below
GREY = 6  # levels of 255: a photo is grey if the channels of no pixel, of 32 x 32, differ by more
SMALL = 32  # pixels: a photo is very small if its shorter side is below
UNEVEN = 3  # ratio of the largest to the smallest class from which on it is reported
_SHOWN = 5  # photos, or groups of copies, printed for each finding
_PICTURED = 48  # the same, drawn on the contact sheet
_OF_A_GROUP = 8  # photos printed or drawn of a group of copies
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Measurements(NamedTuple):
    """Size of a photo in pixels and, at 32 x 32, its luma `grey` (uint8), contrast and colour, in levels.

    contrast: the largest standard deviation of a channel; colour: the largest difference between channels of a pixel.
    """

    height: int
    width: int
    grey: np.ndarray
    contrast: float
    colour: int


@dataclass(frozen=True)
class DatasetReport:
    """Result of checking the folder `root`: photos by split, their measurements, and the findings."""

    root: Path
    splits: dict[str, Listing]
    scan: Scan[Measurements]
    findings: list[Finding]

    @property
    def to_mend(self) -> bool:
        """Whether any finding should be corrected."""
        return any(finding.mend for finding in self.findings)

    @property
    def sizes(self) -> np.ndarray:
        """int, N x 2: height and width of each photo that can be read."""
        return np.array([(m.height, m.width) for m in self.scan.results], int).reshape(-1, 2)

    @property
    def grey(self) -> int:
        """Number of photos without colour."""
        return sum(m.colour <= GREY for m in self.scan.results)


def check_dataset(root: Path) -> DatasetReport:
    """Check names, folders and every photo below `root`; nothing is changed. CatdogError if `root` cannot be listed."""
    splits = list_splits(root)
    scan = scan_photos(root, list_all(splits), _measure, (THUMBNAIL, THUMBNAIL), "looking at the photos")
    with working("comparing the photos"):
        return DatasetReport(root, splits, scan, [*check_layout(root, splits), *_check_photos(root, splits, scan)])


def _measure(photo: Photo, pixels: np.ndarray, size: tuple[int, int]) -> Measurements:
    contrast = pixels.reshape(-1, 3).astype(np.float32).std(axis=0).max()
    colour = int((pixels.max(axis=2) - pixels.min(axis=2)).max())
    return Measurements(*size, np.rint(pixels @ _LUMA).astype(np.uint8), float(contrast), colour)


def _check_photos(root: Path, splits: dict[str, Listing], scan: Scan[Measurements]) -> Iterator[Finding]:
    if scan.unreadable:
        items = [{"path": photo.path, "reason": reason} for photo, reason in scan.unreadable]
        message = f"{many(len(items), 'photo')} that cannot be read; training leaves them out."
        yield Finding("unreadable", True, message, items)
    yield from _check_copies(root, splits, scan)
    blank = [{"path": photo.path} for photo, m in zip(scan.photos, scan.results, strict=True) if m.contrast < BLANK]
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
        for photo, m in zip(scan.photos, scan.results, strict=True)
        if min(m.height, m.width) < SMALL
    ]
    if small:
        message = f"{many(len(small), 'very small photo')}, a side shorter than {SMALL} pixels."
        yield Finding("very_small", False, message, small)


def _check_copies(root: Path, splits: dict[str, Listing], scan: Scan[Measurements]) -> Iterator[Finding]:
    """Find copies of a photo: with two labels, in two splits, or (neither) within a class."""
    grey = np.array([m.grey for m in scan.results], np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
    copies = find_copies([os.path.join(root, photo.path) for photo in scan.photos], grey)
    labels = [{scan.photos[i].label for i in group.members} for group in copies]
    places = [{scan.photos[i].split for i in group.members} for group in copies]
    both = list(zip(copies, labels, places, strict=True))

    def finding(kind: str, groups: list[Copies], what: str) -> Iterator[Finding]:
        if groups:
            items = [_as_item(group, scan.photos) for group in groups]
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


def as_json(report: DatasetReport) -> dict[str, Any]:
    """Convert the report to plain values for JSON."""
    read = len(report.scan.photos)
    return {
        "folder": str(report.root),
        "photos": read + len(report.scan.unreadable),
        "to_mend": report.to_mend,
        "counts": {
            split: dict(zip(listing.classes, listing.counts(), strict=True)) for split, listing in report.splits.items()
        },
        "sizes": sizes_as_json(report.sizes),
        "greyscale": {"count": report.grey, "share": report.grey / read if read else 0.0},
        "findings": [asdict(finding) for finding in report.findings],
    }


def as_text(report: DatasetReport) -> str:
    """Format the report as text."""
    read = len(report.scan.photos)
    lines = [*table(report.splits), "", f"sizes      {sizes_as_text(report.sizes)}"]
    if read:
        lines.append(f"greyscale  {many(report.grey, 'photo')}, {report.grey / read:.1%}")
    classes = dict.fromkeys(name for listing in report.splits.values() for name in listing.classes)
    alike = set(chain.from_iterable(look_alike(classes)))
    for mend, heading in ((True, "to mend"), (False, "worth knowing")):
        findings = [finding for finding in report.findings if finding.mend == mend]
        if findings:
            lines += ["", f"{heading}:"]
        for finding in findings:
            lines.append(f"- {on_one_line(finding.message)}")
            lines += [f"    {_item_as_text(item, alike)}" for item in finding.items[:_SHOWN]]
            if len(finding.items) > _SHOWN:
                lines.append(f"    and {len(finding.items) - _SHOWN:,} more, which --json lists")
    if not report.to_mend:
        lines += ["", "nothing to mend"]
    return "\n".join(lines)


def _item_as_text(item: Any, alike: Collection[str]) -> str:
    """alike: classes whose names look alike; paths that lead through one are shown in quotes."""

    def shown(path: str) -> str:
        return quoted(path) if any(part in alike for part in path.split(os.sep)) else on_one_line(path)

    if "paths" in item:
        pairs = list(zip(item["paths"], item["mirrored"], strict=True))
        names = [f"{shown(path)}{' (mirrored)' if mirrored else ''}" for path, mirrored in pairs[:_OF_A_GROUP]]
        more = f" = {len(pairs) - _OF_A_GROUP:,} more" if len(pairs) > _OF_A_GROUP else ""
        return f"{' = '.join(names)}{more}{', the same bytes' if item['same_bytes'] else ''}"
    return shown(item["path"]) + (on_one_line(f": {item['reason']}") if "reason" in item else "")


def draw_suspects(report: DatasetReport, path: Path) -> str:
    """Draw the photos of the findings as a contact sheet, a PNG; returns what is on it.

    Photos that cannot be read are left out.
    """
    from catdog.drawing.contact_sheet import Cell, Section, draw_sheet, fitted_size

    sizes = {p.path: (m.height, m.width) for p, m in zip(report.scan.photos, report.scan.results, strict=True)}

    def cells(item: Any) -> Iterator[Cell]:
        for name in item.get("paths", [item.get("path")])[:_OF_A_GROUP]:
            if name in sizes:
                try:
                    yield Cell(decode(report.root / name, fitted_size(*sizes[name])), name)
                except ImageError:  # gone, or changed, since it was checked
                    continue

    sections = []
    for finding in report.findings:
        groups = [group for item in finding.items[:_PICTURED] if (group := list(cells(item)))]
        if groups:
            sections.append(Section(finding.message, groups))
    if not sections:
        nothing = "what there is to mend has no photo to show" if report.to_mend else "nothing to mend"
        draw_sheet([Section(nothing, [])], path)
        return f"there is no photo to show, and {on_one_line(str(path))} says so"
    draw_sheet(sections, path)
    what = "in question" if report.to_mend else "worth knowing about"
    return f"the photos {what} are on {on_one_line(str(path))}"


def main(folder: str, json_wanted: bool, out: str | None, labels: bool) -> int:
    """Run `catdog data check`; returns the exit status, 1 if something should be corrected.

    labels: train networks to find labels in doubt too.
    """
    root = local_folder(folder)
    picture = None
    if out is not None:
        from catdog.drawing.contact_sheet import require_png

        picture = require_png(out, root)
    report = check_dataset(root)
    drawn = ""
    if labels:
        from catdog.tools.dataset.labels import doubtful_labels

        doubtful, drawn = doubtful_labels(root, lambda line: print(line, file=sys.stderr))
        report.findings.extend(filter(None, [doubtful]))
    if picture is not None:
        with working("drawing"):
            drawn = "\n".join(filter(None, [drawn, draw_suspects(report, picture)]))
    if json_wanted:
        print(json_line(as_json(report)))
    else:
        print(as_text(report))
        if drawn:
            print(f"\n{drawn}")
    return 1 if report.to_mend else 0
