"""Lists the fields of the configuration, with type, default and range, and validates values against them."""

import ast
import dataclasses
import functools
import inspect
import sys
import typing
from dataclasses import dataclass
from typing import Any, Literal

from catdog.architecture import MAX_LAYERS
from catdog.config.settings import Augment, Config, Model, Photos, Run, Training
from catdog.errors import CatdogError

SECTIONS: dict[str, type] = {"photos": Photos, "model": Model, "augment": Augment, "training": Training, "run": Run}


@dataclass(frozen=True)
class Field:
    """One field of the configuration, which is a key of the TOML file and a flag."""

    section: str
    name: str
    type: Any
    default: Any
    doc: str
    range: tuple[float, float] | None
    """Least and greatest value of a number, or of each number of a list."""

    @property
    def flag(self) -> str:
        """The command-line flag: "--learning-rate" for learning_rate."""
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The values of a Literal; None for another type."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else None


@functools.cache
def fields() -> dict[str, Field]:
    """Map name to Field for every field of the configuration, in order."""
    found = {}
    for section, cls in SECTIONS.items():
        types, docs = typing.get_type_hints(cls), _field_docs(cls)
        for f in dataclasses.fields(cls):
            found[f.name] = Field(section, f.name, types[f.name], f.default, docs[f.name], f.metadata.get("range"))
    return found


def _field_docs(cls: type) -> dict[str, str]:
    """Map name to docstring, the string below it in the source, of each field of a dataclass."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(node, ast.ClassDef)
    docs = {}
    for above, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(above.target, ast.Name)
            docs[above.target.id] = " ".join(str(below.value.value).split())
    return docs


def convert(f: Field, value: Any) -> Any:
    """Return `value` in the type of field `f`: an int becomes a float, a list a tuple. CatdogError for another type.

    An int that is too large for a float stays one: no range holds it, as `validate` says.
    """
    problem = CatdogError(f"{f.name} ({f.flag}) must be {_describe_type(f.type)}, not {value!r}.")
    if f.choices:
        if value not in f.choices:
            from catdog.config.suggestions import did_you_mean  # which nobody needs who makes no mistake

            raise CatdogError(f"{str(problem)[:-1]}{did_you_mean(str(value), f.choices)}")
        return value
    if typing.get_origin(f.type) is tuple:
        wanted = typing.get_args(f.type)
        if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
            raise problem
        if Ellipsis not in wanted and len(value) != len(wanted):
            raise problem
        return tuple(value)
    if f.type is float and type(value) is int:
        return float(value) if abs(value) <= sys.float_info.max else value
    if type(value) is not f.type:
        raise problem
    return value


def _describe_type(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        return "a list of whole numbers" if Ellipsis in items else f"{len(items)} whole numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]


def validate(config: Config) -> Config:
    """Return `config` if every value is in its range and the fields are compatible with each other.

    Raises CatdogError naming the field otherwise.
    """
    for f in fields().values():
        value = getattr(getattr(config, f.section), f.name)
        if isinstance(value, tuple) and len(value) > MAX_LAYERS:
            raise CatdogError(f"{f.name} ({f.flag}) must be {MAX_LAYERS:,} numbers at most, not {len(value):,}.")
        if f.range is not None:
            low, high = f.range
            for number in value if isinstance(value, tuple) else (value,):
                if not low <= number <= high:  # as NaN and infinity are not
                    found = number if isinstance(number, int) else f"{number:g}"
                    raise CatdogError(f"{f.name} ({f.flag}) must be from {low:g} to {high:g}, not {found}.")
    from catdog.config.conflicts import refuse_conflicts

    refuse_conflicts(config, fields())
    return config
