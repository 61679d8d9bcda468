"""The results as Markdown and as a picture."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.contender import Part
from benchmarks.parts.growth import SCALING_FIGURES
from benchmarks.results import (
    Limit,
    Results,
    Spread,
    compare,
    compared,
    expected_mean,
    is_kept,
    mean_interval,
    slope,
    spread,
    write,
)


def write_markdown(
    results: Results, parts: Iterable[Part], path: Path, picture: Path | None, earlier: Results | None = None
) -> None:
    write(path, "\n".join(markdown(results, parts, picture, earlier)) + "\n")


def markdown(
    results: Results, parts: Iterable[Part], picture: Path | None = None, earlier: Results | None = None
) -> Iterator[str]:
    """The lines of a page: where it was measured, then for each part its limits and all its figures.

    earlier: what both are compared with, where it is not the same measurements.
    """
    if earlier is not None and earlier.measurements == results.measurements:
        earlier = None
    m = results.machine
    variables = "".join(f", {name}={value}" for name, value in m["environment"].items())
    gpus = "".join(f", {name}" for name in m.get("gpus", []))
    yield "# Measurements"
    yield ""
    yield f"{m['processor']}, {m['cores']} cores, {m['memory_gib']:g} GiB of memory{gpus}; {m['system']}{variables}."
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in results.versions.items()) + "."
    yield ""
    yield f"How much is measured: {', '.join(f'{name} {value}' for name, value in results.settings.items())}."
    yield ""
    yield (
        "Contenders of a part run in turn, each in a process of its own, in another order each round. A ratio or "
        "difference is taken within a round. Middle: the median, between the least and the greatest; of a mean "
        "difference, the mean and its 95% interval (Student's t)."
    )
    if earlier is not None:
        yield ""
        yield (
            "Before: the mean of the earlier measurements and how many there were; **outside**: the mean of the new "
            "ones is outside the 95% interval that the earlier ones, where there were two or more, predict for it "
            "(Student's t)."
        )
        if changed := list(_differences(earlier, results)):
            yield f"The earlier ones were made with another {', '.join(changed)}."
    for part in parts:
        yield from _part(results, part, picture, earlier)


def _differences(earlier: Results, now: Results) -> Iterator[str]:
    for old, new in (
        (earlier.machine, now.machine),
        (earlier.versions, now.versions),
        (earlier.settings, now.settings),
    ):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"{name} ({old.get(name)}, now {new.get(name)})"


def change(before: Sequence[float], now: Sequence[float]) -> list[str]:
    """Two cells: what was measured before, and whether what is measured now is outside the interval of that."""
    if not before or not now:
        return ["", ""]
    expected, mean = expected_mean(before, len(now)), mean_interval(now).middle
    return [f"{number(expected.middle)} ({expected.n})", "" if expected.low <= mean <= expected.high else "**outside**"]


def _part(results: Results, part: Part, picture: Path | None, earlier: Results | None) -> Iterator[str]:
    mine = [m for m in results.measurements if m.part == part.name]
    absent = [(c.name, results.not_measured.get(f"{part.name} / {c.name}")) for c in part.contenders]
    if not mine and not any(reason for _, reason in absent):
        return
    yield ""
    yield f"## {part.name}"
    yield ""
    yield part.about
    if mine:
        loads = spread([m.load_before for m in mine])
        yield f"Load average of the machine before each: {loads.low:.1f} to {loads.high:.1f}."
    for name, reason in absent:
        if reason:
            yield ""
            yield f"Not measured: {name}: {reason}."
    more = [] if earlier is None else ["before", "change"]
    if mine and part.limits:
        rows = [_limit_row(limit, compare(results, part.name, limit)) for limit in part.limits]
        if earlier is not None:
            for row, limit in zip(rows, part.limits, strict=True):
                row += change(*(compared(which, part.name, limit) for which in (earlier, results)))
        yield from _table(["what", "limit", "n", "middle", "spread", "kept", *more], rows)
    yield from _table(
        ["contender", "figure", "n", "middle", "spread", *more], list(_figure_rows(results, part, earlier))
    )
    if part.name == "scaling" and (slopes := exponents(results, part)):
        yield ""
        for figure, exponent in slopes.items():
            yield f"- {in_words(figure)}: grows as the number of photos to the power {exponent:.2f}"
        if picture is not None:
            yield ""
            yield f"![Seconds over the number of photos, both logarithmic]({picture.name})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield ""
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        for row in rows:
            yield f"| {' | '.join(row)} |"


def _limit_row(limit: Limit, found: Spread | None) -> list[str]:
    if limit.kind == "mean difference":
        bound = f"interval reaches {number(limit.least or 0)}"
    else:
        low = [f"≥ {number(limit.least)}"] if limit.least is not None else []
        high = [f"≤ {number(limit.most)}"] if limit.most is not None else []
        bound = ", ".join(low + high)
    if found is None:
        return [limit.says, bound, "0", "", "", "not measured"]
    if not bound:
        verdict = ""
    elif math.isinf(found.high):
        verdict = "unknown"
    else:
        verdict = "yes" if is_kept(limit, found) else "**no**"
    return [limit.says, bound, str(found.n), number(found.middle), _ends(found), verdict]


def _figure_rows(results: Results, part: Part, earlier: Results | None) -> Iterator[list[str]]:
    for contender in part.contenders:
        names = dict.fromkeys(
            name
            for m in results.measurements
            if (m.part, m.contender) == (part.name, contender.name)
            for name in m.figures
        )
        for name in names:
            values = list(results.figures(part.name, contender.name, name).values())
            found = spread(values)
            changed: list[str] = []
            if earlier is not None:
                changed = change(list(earlier.figures(part.name, contender.name, name).values()), values)
            yield [contender.name, in_words(name), str(found.n), number(found.middle), _ends(found), *changed]
            if name == "accuracy":
                found = mean_interval(values)
                words = "accuracy, mean and 95% interval"
                yield [contender.name, words, str(found.n), number(found.middle), _ends(found), *["" for _ in changed]]


def _ends(found: Spread) -> str:
    return f"{number(found.low)} to {number(found.high)}" if math.isfinite(found.high) else "unknown"


def in_words(figure: str) -> str:
    """A figure's name as a reader would write it: "peak_mb" -> "peak MB"."""
    words = re.sub(r"\bmb\b", "MB", figure.replace("photos_per_second", "photos/s").replace("_", " "))
    return re.sub(r"^seconds (\d+) (epochs?)$", r"seconds of \1 \2", words)


def number(value: float) -> str:
    """Three significant digits or more, four below 1, where accuracies are; whole numbers as they are."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{4 if abs(value) < 1 else 2 if abs(value) < 10 else 1}f}"


def _points(results: Results, part: Part) -> dict[str, list[tuple[float, float]]]:
    """Figure -> (photos, median) of each size."""
    found: dict[str, list[tuple[float, float]]] = {}
    for contender in part.contenders:
        for figure in SCALING_FIGURES:
            if values := results.figures(part.name, contender.name, figure):
                photos = float(contender.name.split()[0])
                found.setdefault(figure, []).append((photos, spread(list(values.values())).middle))
    return found


def exponents(results: Results, part: Part) -> dict[str, float]:
    """Figure -> the power of the number of photos with which it grows."""
    return {figure: slope(points) for figure, points in _points(results, part).items() if len(points) > 1}


def draw_scaling(results: Results, part: Part, path: Path) -> bool:
    """Draw seconds over photos, both logarithmic, with the fitted lines; False where there is nothing to draw."""
    slopes = exponents(results, part)
    if not slopes:
        return False
    from matplotlib.figure import Figure  # only here, where nothing is measured any more
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in _points(results, part).items():
        if name not in slopes:
            continue
        photos, seconds = zip(*points, strict=True)
        scale = math.exp(math.fsum(math.log(s) - slopes[name] * math.log(p) for p, s in points) / len(points))
        (drawn,) = axes.plot(photos, seconds, "o", label=f"{in_words(name)}: slope {slopes[name]:.2f}")
        axes.plot(photos, [scale * p ** slopes[name] for p in photos], color=drawn.get_color(), linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="training photos", ylabel="seconds of catdog train")
    axes.set_xticks([p for p, _ in next(iter(_points(results, part).values()))])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)
    return True
