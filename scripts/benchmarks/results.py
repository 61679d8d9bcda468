"""What was measured, in a JSON file, and what follows from it: ratios round by round, medians, limits kept or not."""

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


class Problem(Exception):
    """What the user can mend, in one sentence."""


@dataclass(frozen=True)
class Measurement:
    """What one contender of a part did in one round: `figures` by name, and the load average before it started."""

    part: str
    contender: str
    round: int
    figures: Mapping[str, float]
    load_before: float = 0.0


@dataclass
class Results:
    """All measurements made so far on one machine, with one set of versions and settings.

    `not_measured`: "part / contender" -> why it could not be.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    def has(self, part: str, contender: str, round: int) -> bool:
        return any((m.part, m.contender, m.round) == (part, contender, round) for m in self.measurements)

    def forget(self, part: str) -> None:
        """Drop what was measured of a part."""
        self.measurements = [m for m in self.measurements if m.part != part]
        self.not_measured = {k: v for k, v in self.not_measured.items() if not k.startswith(f"{part} / ")}

    def figures(self, part: str, contender: str, figure: str) -> dict[int, float]:
        """That figure by round, of the rounds in which there is one."""
        return {
            m.round: m.figures[figure]
            for m in self.measurements
            if (m.part, m.contender) == (part, contender) and figure in m.figures
        }


def load(path: Path) -> Results:
    """The results in the JSON file `path`; Problem where it is none."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement(**m) for m in plain.pop("measurements")]
        return Results(**plain, measurements=measurements)
    except OSError as error:
        raise Problem(f"cannot read {path}: {error.strerror}; measure first, or give another --out.") from None
    except (ValueError, KeyError, TypeError):
        raise Problem(f"{path} does not hold results of this program; give another --out.") from None


def save(results: Results, path: Path) -> None:
    """Write the JSON file whole or not at all."""
    write(path, json.dumps(asdict(results), indent=1) + "\n")


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.writing")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def go_on(path: Path, now: Results) -> Results:
    """The results in `path` to add to, or `now` where there are none yet.

    Raises Problem if they were measured on another machine, with other versions or with other settings.
    """
    if not path.exists():
        return now
    before = load(path)
    for name in ("machine", "versions", "settings"):
        old, new = getattr(before, name), getattr(now, name)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                raise Problem(
                    f"{path} was measured with another {name}: {key} was {old.get(key)} and is {new.get(key)}; "
                    "give another --out, or remove the file."
                )
    return before


Kind = Literal["value", "ratio", "difference", "mean difference"]


@dataclass(frozen=True)
class Limit:
    """What must be true of `figure` of a contender: that its median is at least `least` and at most `most`.

    value: of the figure itself. ratio: of it over the same of the contender `against` in the same round, after
    `allowance` was taken off it. difference: of it less that of `against`. mean difference: the limit is not on the
    median but on the 95% interval of the mean difference to `against`, which must reach up to `least`.
    `against_figure`: the name of the figure of `against`, where it is another.
    """

    says: str
    contender: str
    figure: str
    kind: Kind = "value"
    against: str = ""
    against_figure: str = ""
    least: float | None = None
    most: float | None = None
    allowance: float = 0.0


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of n values; of a mean difference, the mean and its 95% interval."""

    n: int
    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(len(values), statistics.median(values), min(values), max(values))


# 97.5% quantile of Student's t with 1, 2, ... 30 degrees of freedom.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def mean_interval(values: Sequence[float]) -> Spread:
    """Mean and its 95% interval by Student's t; of one value the interval is without bounds."""
    n, mean = len(values), statistics.fmean(values)
    half = math.inf if n < 2 else _STUDENT[min(n - 1, 30) - 1] * statistics.stdev(values) / math.sqrt(n)
    return Spread(n, mean, mean - half, mean + half)


def expected_mean(earlier: Sequence[float], count: int) -> Spread:
    """Mean of earlier values, and the 95% prediction interval of the mean of `count` new ones (Student's t).

    Of one earlier value the interval is without bounds.
    """
    n, mean = len(earlier), statistics.fmean(earlier)
    if n < 2:
        return Spread(n, mean, -math.inf, math.inf)
    half = _STUDENT[min(n - 1, 30) - 1] * statistics.stdev(earlier) * math.sqrt(1 / n + 1 / count)
    return Spread(n, mean, mean - half, mean + half)


def compared(results: Results, part: str, limit: Limit) -> list[float]:
    """The limit's figure in each round, compared with the same round."""
    mine = results.figures(part, limit.contender, limit.figure)
    if limit.kind == "value":
        return [value - limit.allowance for value in mine.values()]
    theirs = results.figures(part, limit.against, limit.against_figure or limit.figure)
    rounds = sorted(mine.keys() & theirs.keys())
    if limit.kind == "ratio":
        return [(mine[r] - limit.allowance) / theirs[r] for r in rounds]
    return [mine[r] - theirs[r] - limit.allowance for r in rounds]


def compare(results: Results, part: str, limit: Limit) -> Spread | None:
    """The limit's figure over the rounds; None where there is no round with both."""
    values = compared(results, part, limit)
    if not values:
        return None
    return mean_interval(values) if limit.kind == "mean difference" else spread(values)


def is_kept(limit: Limit, found: Spread) -> bool:
    if limit.kind == "mean difference":
        return limit.least is None or found.high >= limit.least
    return (limit.least is None or found.middle >= limit.least) and (limit.most is None or found.middle <= limit.most)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through (log x, log y), by least squares: the exponent b of y = a * x**b."""
    return statistics.linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope
