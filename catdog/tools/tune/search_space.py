"""What `catdog tune` may search: fields of the configuration, each with the range that it is searched in.

Chosen are fields whose best value depends on the photos. How far a step moves and what keeps the network from learning
the photos by heart (Bergstra and Bengio 2012: a few such fields decide, and which ones differs with the data) are
searched by default; what makes another network of it, which may take longer to train, is searched when it is named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catdog.config.schema import fields, nearest, validate
from catdog.config.settings import Config
from catdog.errors import CatdogError

Value = float | bool | str

_TIMES = 10.0  # how far from the configuration's own value a field on a logarithmic scale is searched
_LINEAR = {"dropout": (0.0, 0.5), "mixup": (0.0, 1.0), "crop_area": (0.2, 1.0), "label_smoothing": (0.0, 0.2)}
_LOGARITHMIC = ("learning_rate", "weight_decay")
DEFAULT = (*_LOGARITHMIC, *_LINEAR)
IN_WORDS = {
    **{name: "a tenth to ten times the configuration's value, on a logarithmic scale" for name in _LOGARITHMIC},
    **{name: f"{low:g} to {high:g}" for name, (low, high) in _LINEAR.items()},
    "batch_norm": "true or false",
    "hidden": "layers half as wide as the configuration's, as wide, twice as wide",
}
"""Every field that can be searched, and its range; the range is widened to hold the configuration's own value."""


@dataclass(frozen=True)
class Dimension:
    """A field that is searched: among `choices`, or, where there are none, the numbers from `low` to `high`.

    `own` is the configuration's value. Layers' widths, a list of numbers, are searched as the text `1024 512`.
    """

    name: str
    own: Value
    low: float = 0.0
    high: float = 0.0
    is_logarithmic: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.choices or (self.low, self.high)


def dimensions(config: Config, names: Sequence[str], fixed: Iterable[str] = ()) -> list[Dimension]:
    """The dimensions of a search over the fields `names`, or, where that is empty, over those that are worth it.

    `fixed` are fields that stay as `config` has them. Raises CatdogError for a field that is unknown, cannot be
    searched, is fixed as well, or changes nothing in this configuration.
    """
    idle = _idle(config)
    names = list(dict.fromkeys(name.replace("-", "_") for name in names))
    for name in names:
        if name not in IN_WORDS:
            what = "is not a field that can be searched" if name in fields() else "is not a field"
            raise CatdogError(f"--search {name}: {name} {what}{nearest(name, IN_WORDS)}; there are {_list(IN_WORDS)}.")
        if name in fixed:
            raise CatdogError(f"--search {name} and {fields()[name].flag}, which fixes it, exclude each other.")
        if name in idle:
            raise CatdogError(f"--search {name}: {idle[name]}; leave it out.")
    names = names or [name for name in DEFAULT if name not in fixed and name not in idle]
    if not names:
        raise CatdogError(
            f"every field is fixed by a flag, so nothing is left to search; name some: --search {_list(IN_WORDS)}."
        )
    found = [_dimension(name, config) for name in names]
    for dimension in found:
        for value in dimension.ends:
            with_values(config, {dimension.name: value})
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _idle(config: Config) -> dict[str, str]:
    """The fields that change nothing in this configuration, and why."""
    found = {}
    if config.training.loss == "svm":
        found["label_smoothing"] = "the svm loss has no label smoothing"
    if not config.model.hidden:
        found.update(dict.fromkeys(("hidden", "dropout", "batch_norm"), "the network has no hidden layer"))
    return found


def _dimension(name: str, config: Config) -> Dimension:
    own = getattr(getattr(config, fields()[name].section), name)
    if name == "hidden":
        widths = [[max(1, width // 2) for width in own], own, [2 * width for width in own]]
        return Dimension(name, _words(own), choices=tuple(dict.fromkeys(map(_words, widths))))
    if name == "batch_norm":
        return Dimension(name, own, choices=(False, True))
    if name in _LINEAR:
        low, high = _LINEAR[name]
        return Dimension(name, own, min(low, own), max(high, own))
    if own == 0:
        raise CatdogError(
            f"{name} is 0, of which there is no tenth to search from; fix it with {fields()[name].flag} 0."
        )
    return Dimension(name, own, own / _TIMES, own * _TIMES, is_logarithmic=True)


def _words(widths: Iterable[int]) -> str:
    return " ".join(map(str, widths))


def with_values(config: Config, values: Mapping[str, Value]) -> Config:
    """`config` with these values of searched fields, checked."""
    for name, value in values.items():
        section = fields()[name].section
        given: Any = tuple(map(int, str(value).split())) if name == "hidden" else value
        config = replace(config, **{section: replace(getattr(config, section), **{name: given})})
    return validate(config)


def in_words(values: Mapping[str, Value]) -> str:
    """`learning_rate 0.000931, dropout 0.12`."""
    return ", ".join(
        f"{name} {value:.3g}" if type(value) is float else f"{name} {value}" for name, value in values.items()
    )
