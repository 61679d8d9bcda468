"""Search space of `catdog tune`: the configuration fields that can be searched, each with its range.

These are fields whose best value depends on the photos. Learning rate and regularisation are searched by default
(Bergstra and Bengio 2012: a few such fields decide, and which ones differs with the data); fields that change the
network, which may then take longer to train, are searched when they are named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catdog.config.schema import fields, validate
from catdog.config.settings import Config
from catdog.config.suggestions import did_you_mean
from catdog.errors import CatdogError

Value = float | bool | str

_TIMES = 10.0  # factor below and above the configuration's value that a field on a logarithmic scale is searched in
_LINEAR = {"dropout": (0.0, 0.5), "mixup": (0.0, 1.0), "crop_area": (0.2, 1.0), "label_smoothing": (0.0, 0.2)}
_LOGARITHMIC = ("learning_rate", "weight_decay")
DEFAULT = (*_LOGARITHMIC, *_LINEAR)
RANGES = {
    **{name: "a tenth to ten times the configuration's value, on a logarithmic scale" for name in _LOGARITHMIC},
    **{name: f"{low:g} to {high:g}" for name, (low, high) in _LINEAR.items()},
    "batch_norm": "true or false",
    "hidden": "layers half as wide as the configuration's, as wide, twice as wide",
}
"""Text of the range of each field that can be searched; it is widened to include the configuration's own value."""


@dataclass(frozen=True)
class Dimension:
    """Field to search: among `choices` or, if there are none, the numbers from `low` to `high`.

    `own` is the configuration's value. A list of layer widths is represented by text such as `1024 512`.
    """

    name: str
    own: Value
    low: float = 0.0
    high: float = 0.0
    is_logarithmic: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def ends(self) -> tuple[Value, ...]:
        """All choices, or the bounds of the range."""
        return self.choices or (self.low, self.high)


def dimensions(config: Config, names: Sequence[str], fixed: Iterable[str] = ()) -> list[Dimension]:
    """Dimensions of a search over the fields `names`, or over those of DEFAULT that are not fixed and have an effect.

    `fixed` are fields that keep the value in `config`. Raises CatdogError for a field that is unknown, cannot be
    searched, is fixed as well, or has no effect in this configuration.
    """
    without_effect = _without_effect(config)
    names = list(dict.fromkeys(name.replace("-", "_") for name in names))
    for name in names:
        if name not in RANGES:
            what = "is not a field that can be searched" if name in fields() else "is not a field"
            rest = did_you_mean(name, RANGES, f"there are {_list(RANGES)}.")
            raise CatdogError(f"--search {name}: {name} {what}{rest}")
        if name in fixed:
            raise CatdogError(f"--search {name} and {fields()[name].flag}, which fixes it, exclude each other.")
        if name in without_effect:
            raise CatdogError(f"--search {name}: {without_effect[name]}; leave it out.")
    names = names or [name for name in DEFAULT if name not in fixed and name not in without_effect]
    if not names:
        raise CatdogError(
            f"every field is fixed by a flag, so nothing is left to search; name some: --search {_list(RANGES)}."
        )
    found = [_dimension(name, config) for name in names]
    for dimension in found:
        for value in dimension.ends:
            with_values(config, {dimension.name: value})
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _without_effect(config: Config) -> dict[str, str]:
    """Fields without effect in this configuration, and the reason."""
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
        return Dimension(name, _widths_as_text(own), choices=tuple(dict.fromkeys(map(_widths_as_text, widths))))
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


def _widths_as_text(widths: Iterable[int]) -> str:
    return " ".join(map(str, widths))


def with_values(config: Config, values: Mapping[str, Value]) -> Config:
    """Copy of `config` with these values of searched fields, validated."""
    for name, value in values.items():
        section = fields()[name].section
        given: Any = tuple(map(int, str(value).split())) if name == "hidden" else value
        config = replace(config, **{section: replace(getattr(config, section), **{name: given})})
    return validate(config)


def values_as_text(values: Mapping[str, Value]) -> str:
    """Format values: `learning_rate 0.000931, dropout 0.12`."""
    return ", ".join(
        f"{name} {value:.3g}" if type(value) is float else f"{name} {value}" for name, value in values.items()
    )
