"""Measures catdog beside its peers and writes a table: JSON as it goes, Markdown and a picture at the end.

python scripts/benchmark.py --data PHOTOS --native LARGE_PHOTOS        all parts, each contender 1 to 5 times
python scripts/benchmark.py ... --rounds 5                            each contender 5 times; hours
python scripts/benchmark.py ... --only predict start                  these parts
python scripts/benchmark.py ... --trial                               a few photos, one round: does it work?
python scripts/benchmark.py ... --only predict --again                anew, after a change
python scripts/benchmark.py --table                                   the table from what was measured before

It can be stopped and started again: what is in the JSON file is not measured again. The table has a column of what was
measured before (--against) and marks what is outside the interval of that. The peers need pip install -e ".[bench]".
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from benchmarks import machine, results, table
from benchmarks.contender import Contender, Part
from benchmarks.parts import all_parts
from benchmarks.photos import TRIAL, Place, Sizes, require_photos
from benchmarks.results import Measurement, Problem, Results

T = TypeVar("T")
EARLIER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "results.json"


def rotated(items: Sequence[T], by: int) -> list[T]:
    """The items in order, from number `by` on, round and round."""
    by %= max(1, len(items))
    return [*items[by:], *items[:by]]


def measure(part: Part, rounds: int, place: Place, found: Results, file: Path) -> None:
    """Measure what `found` lacks of a part, round by round, and save after each measurement. rounds: 0: as usual."""
    wanted = {contender.name: part.rounds_of(contender, rounds) for contender in part.contenders}
    for number in range(max(wanted.values())):
        for contender in rotated(part.contenders, number):
            if number < wanted[contender.name] and not found.has(part.name, contender.name, number):
                print(f"{part.name}, round {number + 1} of {wanted[contender.name]}: {contender.name}", flush=True)
                measure_one(part, contender, number, place, found)
                results.save(found, file)


def measure_one(part: Part, contender: Contender, number: int, place: Place, found: Results) -> None:
    full_name = f"{part.name} / {contender.name}"
    if contender.needs and importlib.util.find_spec(contender.needs) is None:
        found.not_measured[full_name] = f'{contender.needs} is not installed: pip install -e ".[bench]"'
        return
    load = os.getloadavg()[0]
    try:
        figures = contender.measure(place, number)
    except Problem as reason:
        found.not_measured[full_name] = str(reason).rstrip(".")
        print(f"  not measured: {reason}", flush=True)
        return
    found.not_measured.pop(full_name, None)
    found.measurements.append(Measurement(part.name, contender.name, number, figures, round(load, 2)))
    words = (f"{table.in_words(name)} {table.number(value)}" for name, value in figures.items())
    print(f"  {', '.join(words)}", flush=True)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(all_parts(Sizes()))
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos with train/ and val/")
    parser.add_argument("--native", type=Path, metavar="DIR", help="class folders of large photos")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--rounds", type=int, metavar="N", help="of each contender (default: 1 to 5; of a trial 1)")
    parser.add_argument("--again", action="store_true", help="forget what was measured of these parts")
    parser.add_argument("--trial", action="store_true", help="measure little, to see whether it works")
    parser.add_argument("--photos-to-list", type=int, metavar="N", help="in the part listing (default: 1000000)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks.json"), metavar="FILE.json")
    parser.add_argument(
        "--against", type=Path, default=EARLIER, metavar="FILE.json", help="earlier results to compare with"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing")
    return parser.parse_args(argv)


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    sizes = TRIAL if arguments.trial else Sizes()
    return replace(sizes, photos_to_list=arguments.photos_to_list) if arguments.photos_to_list else sizes


def write_table(found: Results, file: Path, earlier: Results | None) -> None:
    """Beside the JSON file: the page, and the picture that it shows."""
    parts, picture = all_parts(from_settings(found.settings)), file.with_suffix(".png")
    is_drawn = table.draw_scaling(found, parts["scaling"], picture)
    table.write_markdown(found, parts.values(), file.with_suffix(".md"), picture if is_drawn else None, earlier)
    print(f"the table is {file.with_suffix('.md')}")


def from_settings(settings: dict[str, object]) -> Sizes:
    return Sizes(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})  # type: ignore[arg-type]


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    file: Path = arguments.out
    # Read now: it may be the file that is written.
    earlier = results.load(arguments.against) if arguments.against.exists() else None
    if arguments.table:
        write_table(results.load(file), file, earlier)
        return
    data, native = require_photos(arguments.data, arguments.native)
    sizes = sizes_of(arguments)
    settings = json.loads(json.dumps(asdict(sizes)))
    found = results.go_on(file, Results(machine.describe(), machine.versions(), settings))
    parts = all_parts(sizes)
    with tempfile.TemporaryDirectory() as work:
        place = Place(data, native, Path(work), sizes)
        for name in arguments.only:
            if arguments.again:
                found.forget(name)
            measure(parts[name], arguments.rounds or int(arguments.trial), place, found, file)
    write_table(found, file, earlier)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(f"benchmark: {problem}")
