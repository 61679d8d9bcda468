"""`catdog data sample|check|stats|fetch|pack` and `catdog cache`."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from catdog.cli.flags import Parser, add_verb
from catdog.config.schema import fields
from catdog.errors import CatdogError


def add_data(verbs: Any) -> None:
    parser = verbs.add_parser("data", help="make or look at a folder of photos")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    draw = add_verb(
        actions,
        "sample",
        _data_sample,
        "draw cats and dogs into DIR/cat and DIR/dog",
        "example:\n  catdog data sample drawings --count 200 --size 256 256",
    )
    draw.add_argument("folder", metavar="DIR", help="a folder that is not there yet, or is empty")
    draw.add_argument("--count", metavar="N", type=int, default=200, help="how many in all (default: 200)")
    draw.add_argument("--size", metavar=("H", "W"), type=int, nargs=2, default=(96, 96), help="pixels (default: 96 96)")
    draw.add_argument("--seed", metavar="N", type=int, default=0, help="another number draws others (default: 0)")

    look = add_verb(
        actions,
        "check",
        _data_check,
        "find photos that are broken, there more than once, or in the wrong place",
        "examples:\n  catdog data check photos\n  catdog data check photos --out suspects.png\n"
        "  catdog data check photos --labels            photos in the folder of another class\n\n"
        "exit status: 0 when nothing needs mending, 1 when something does, 2 when there is no such folder",
    )
    look.add_argument("folder", metavar="DIR", help="a folder of photos; nothing in it is changed")
    look.add_argument("--json", action="store_true", help="print one JSON object, which lists everything found")
    look.add_argument("--out", metavar="FILE.png", help="draw the photos in question (default: no picture)")
    look.add_argument(
        "--labels",
        action="store_true",
        help="train networks, a run in runs/, and list the photos that they call another class than their own",
    )

    sums = add_verb(
        actions,
        "stats",
        _data_stats,
        "count and measure photos: sizes, colours, the mean photo of each class",
        "examples:\n  catdog data stats photos\n  catdog data stats photos --image-size 64 64 --out mean.png",
    )
    sums.add_argument("folder", metavar="DIR", help="a folder of photos; nothing in it is changed")
    sums.add_argument("--json", action="store_true", help="print one JSON object")
    sums.add_argument("--out", metavar="FILE.png", help="draw the mean photo of each class (default: no picture)")
    size = fields()["image_size"].default
    sums.add_argument(
        "--image-size",
        metavar=("H", "W"),
        type=int,
        nargs=2,
        default=size,
        help=f"resize each photo to H x W pixels, as training does (default: {size[0]} {size[1]})",
    )
    resize = fields()["resize"]
    sums.add_argument(
        "--resize", choices=resize.choices, default=resize.default, help="how, as training does (default: %(default)s)"
    )

    get = add_verb(
        actions,
        "fetch",
        _data_fetch,
        "download public photographs of cats and dogs",
        "examples:\n  catdog data fetch pets photos/pets\n  catdog train --data photos/pets\n\n"
        "pets      Oxford-IIIT Pet: 3,680 photos to train on, 3,669 to test with; about 810 MB; CC BY-SA 4.0\n"
        "catsdogs  Microsoft's Kaggle Cats and Dogs: 25,000 photos, some broken; 825 MB; for research\n\n"
        "a download that was interrupted goes on when the same command is run again",
    )
    get.add_argument("name", choices=("pets", "catsdogs"), help="which photographs")
    get.add_argument("folder", metavar="DIR", help="a folder that is not there yet, or is empty")

    shards = add_verb(
        actions,
        "pack",
        _data_pack,
        "pack photos into tar shards, for places where a million files are too many",
        "examples:\n  catdog data pack photos packed\n  catdog train --data packed\n\n"
        "a packed set is read like the folder; the shards are WebDataset's, and tar reads them;\n"
        "where it was interrupted, the same command goes on",
    )
    shards.add_argument("folder", metavar="DIR", help="a folder of photos; nothing in it is changed")
    shards.add_argument("out", metavar="OUT", help="a folder that is not there yet, is empty, or was packed before")
    shards.add_argument(
        "--shard-size", metavar="MB", type=int, default=256, help="size of a shard, at most (default: 256)"
    )


def _data_sample(arguments: argparse.Namespace) -> int:
    from catdog.data.drawn import write_sample

    write_sample(Path(arguments.folder), arguments.count, tuple(arguments.size), arguments.seed)
    print(f"drew {arguments.count:,} cats and dogs into {arguments.folder}")
    return 0


def _data_check(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.check import main as check

    return check(arguments.folder, arguments.json, arguments.out, arguments.labels)


def _data_stats(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.stats import main as stats

    return stats(arguments.folder, tuple(arguments.image_size), arguments.resize, arguments.json, arguments.out)


def _data_fetch(arguments: argparse.Namespace) -> int:
    from catdog.tools.dataset.fetch import fetch

    print(fetch(arguments.name, Path(arguments.folder)))
    return 0


def _data_pack(arguments: argparse.Namespace) -> int:
    from catdog.data.remote import local_folder
    from catdog.tools.dataset.pack import pack

    print(pack(local_folder(arguments.folder), Path(arguments.out), arguments.shard_size))
    return 0


def add_cache(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "cache",
        _cache,
        "list, or clear, the decoded photos that are kept between runs",
        "examples:\n  catdog cache\n  catdog cache --clear\n\n"
        "what is removed is decoded again when it is needed; photos and runs are not touched",
    )
    parser.add_argument("--cache", metavar="DIR", default="auto", help="another folder than the user's cache folder")
    parser.add_argument("--clear", action="store_true", help="remove everything that is kept")


def _cache(arguments: argparse.Namespace) -> int:
    from catdog.base.text import many
    from catdog.data.cache_dir import entries, remove
    from catdog.data.cache_folder import folder_of

    folder = folder_of(arguments.cache)
    if folder.is_relative_to(os.devnull):
        print("nothing is kept, for want of a home folder; name one with --cache DIR or XDG_CACHE_HOME=DIR")
        return 0
    kept = entries(folder)
    total = sum(entry.size for entry in kept) / 1e6
    if arguments.clear:
        for entry in kept:
            remove(entry)
        left = entries(folder)
        if left:
            raise CatdogError(f"cannot remove {left[0].path}; check the permissions of {folder}.")
        print(f"removed {many(len(kept), 'folder')}, {total:,.1f} MB, from {folder}")
        return 0
    for entry in kept:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        print(f"{entry.size / 1e6:>9,.1f} MB  used {used}  {entry.made_from}")
    print(f"{total:>9,.1f} MB  in {folder}" if kept else f"nothing is kept in {folder}")
    return 0
