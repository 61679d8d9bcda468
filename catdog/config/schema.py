"""Lists the fields of the configuration, with type, default and range, and validates values against them."""

import ast
import dataclasses
import functools
import inspect
import math
import typing
from dataclasses import dataclass
from typing import Any, Literal

from catdog.architecture import MAX_LAYERS
from catdog.base.text import many
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
    """Return `value` in the type of field `f`: an int becomes a float, a list a tuple. CatdogError for another type."""
    problem = CatdogError(f"{f.name} ({f.flag}) must be {_describe_type(f.type)}, not {value!r}.")
    if f.choices:
        if value not in f.choices:
            from catdog.config.suggestions import did_you_mean  # which nobody needs who makes no mistake

            raise CatdogError(f"{str(problem)[:-1]}{did_you_mean(str(value), f.choices)}")
        return value
    if typing.get_origin(f.type) is tuple:
        wanted = typing.get_args(f.type)
        if not isinstance(value, list | tuple) or not all(type(item) is int and abs(item) < 2**63 for item in value):
            raise problem
        if Ellipsis not in wanted and len(value) != len(wanted):
            raise problem
        return tuple(value)
    if type(value) is int and abs(value) >= 2**63:
        raise problem
    if f.type is float and type(value) is int:
        return float(value)
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
                if not (math.isfinite(number) and low <= number <= high):
                    raise CatdogError(f"{f.name} ({f.flag}) must be from {low:g} to {high:g}, not {number:g}.")
    if (config.training.train_layers or config.training.keep_statistics) and not (
        config.model.pretrained or config.model.start_from != "none"
    ):
        raise CatdogError(
            "train_layers (--train-layers) and keep_statistics (--keep-statistics) keep what a network has learned; "
            "give --start-from RUN too, or leave them out."
        )
    if config.model.start_from not in ("none", "auto") and not fields().keys() <= config.given:
        return config  # the network comes from there, and is checked with it (catdog.runs.start)
    if config.training.optimizer == "lbfgs" and config.training.train_layers != 1:
        raise CatdogError(
            "optimizer lbfgs (--optimizer lbfgs) is for the classifier alone, on a network that is there already; give "
            "--start-from RUN --train-layers 1 too, or leave it out."
        )
    if config.training.optimizer == "lbfgs" and config.training.epochs != 1:
        raise CatdogError("optimizer lbfgs (--optimizer lbfgs) ends after one epoch; leave --epochs out.")
    if config.model.model == "mlp" and config.model.pretrained:
        raise CatdogError("there are no pretrained weights for mlp; leave --pretrained out, or give --model resnet18.")
    if config.model.model != "mlp":
        if config.training.optimizer == "muon":
            raise CatdogError(f"optimizer muon is for mlp, not for {config.model.model}; leave --optimizer out.")
        for f in fields().values():
            # Runs of torchvision's networks may hold batch_norm = false, which was the default once.
            is_of_mlp = f.section == "model" and f.name not in ("model", "pretrained", "start_from", "batch_norm")
            if is_of_mlp and getattr(config.model, f.name) != f.default:
                raise CatdogError(f"{f.name} ({f.flag}) is for mlp, not for {config.model.model}; leave it out.")
    m = config.model
    for name in ("shared", "blocks", "pool", "pool_all"):
        if getattr(m, name) and not m.local:
            flag = fields()[name].flag
            raise CatdogError(f"{name} ({flag}) is for local layers; give their units, --local 32 64, or leave it out.")
    if m.shared and config.training.share_epochs:
        raise CatdogError(
            "shared (--shared) keeps the weights of all places the same for ever; leave it or share_epochs "
            "(--share-epochs) out."
        )
    if m.blocks and len(m.blocks) != len(m.local):
        raise CatdogError(
            f"blocks (--blocks) must be a number for each of the {many(len(m.local), 'local layer')}, not "
            f"{many(len(m.blocks), 'number')}."
        )
    if (layers := sum(config.architecture.depths)) > MAX_LAYERS:
        raise CatdogError(f"blocks (--blocks) makes {layers:,} local layers, more than {MAX_LAYERS:,}; give fewer.")
    check_parts(config.training, config.architecture.least_photos, ", or --no-batch-norm")
    last = config.architecture.grids[-1]
    if last.height < 1 or last.width < 1:
        height, width = config.photos.image_size
        raise CatdogError(
            f"local (--local) has {len(config.model.local)} layers, and each halves the photo of {height} x {width} "
            "until no place is left; give fewer layers, a smaller --field, or a larger --image-size."
        )
    return config


def check_parts(training: Training, least: int, otherwise: str = "") -> None:
    """Raise CatdogError, which ends in `otherwise`, where a part of a batch would have fewer than `least` photos."""
    batch, parts = training.batch_size, training.accumulate
    if batch == 0 or batch >= least * parts:  # 0: chosen to be large enough
        return
    if least == 1:
        raise CatdogError(
            f"accumulate ({parts}) must not exceed batch_size ({batch}): a part needs at least one photo."
        )
    wanted = f"give --batch-size {least * parts} or more{', or a smaller --accumulate' * (parts > 1)}{otherwise}"
    raise CatdogError(
        f"batch_size ({batch}) is too small{f' for {parts} parts (accumulate)' if parts > 1 else ''}: the batch "
        f"normalisation of this network compares photos that are computed together, and needs two or more; {wanted}."
    )
