"""The one typed configuration: defaults here, then a TOML file, then flags.

Every field below is a key of the TOML file (in the section of its class) and a flag of `catdog train`
(`learning_rate` is `--learning-rate`), so names are unique across sections. The text under a field is
its documentation everywhere: in `--help`, in configs/default.toml and in the config.toml of a run.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
import json
import math
import textwrap
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from catdog.architecture import Activation, Architecture
from catdog.errors import CatdogError


@dataclass(frozen=True)
class Photos:
    """Which photographs, and how they become pixels."""

    data: str = "data"
    """Folder of photos: DIR/<class>/*, or DIR/train/<class>/* with DIR/val/<class>/*."""
    image_size: tuple[int, int] = (32, 32)
    """Height and width, in pixels, that every photo is squashed to. The network has 3 * height * width inputs;
    more pixels show more detail, cost more time and are learned by heart sooner."""
    val_share: float = 0.2
    """Share of the photos kept for validation where there is no val/ folder. Which ones depends on the seed and on
    each file's own name only, so adding photos does not move the others."""
    max_skipped: float = 0.1
    """Share of unreadable photos above which training does not start: then something is wrong with the folder."""
    strict: bool = False
    """Stop at the first unreadable photo instead of skipping it."""
    cache: str = "auto"
    """Where decoded pixels are kept between runs: a folder, "auto" (the user's cache folder) or "none". With none,
    training starts at once, without a look for copies, and decodes each photo again in each epoch; no more than a
    batch is in memory."""
    cache_limit: float = 20.0
    """Largest size of the cache, in gigabytes: above it, what was used longest ago is removed. See `catdog cache`."""


@dataclass(frozen=True)
class Model:
    """The multilayer perceptron: flatten, then hidden layers f(x, W) = Wx + b with an activation, then a classifier."""

    model: str = "mlp"
    """mlp, or the name of any classifier of torchvision, such as resnet18: then the other fields of this section but
    pretrained have no meaning. See docs/networks.md."""
    pretrained: bool = False
    """Begin with torchvision's own weights for that network, which are downloaded once (not for mlp)."""
    hidden: tuple[int, ...] = (1024, 1024, 1024)
    """Width of each hidden layer; an empty list leaves the linear classifier alone."""
    local: tuple[int, ...] = ()
    """Local receptive fields: so many units at each place of each local layer, which come before the hidden ones. A
    unit sees only a window of the layer below, and each layer has half its height and width. See docs/accuracy.md."""
    field: int = 4
    """Height and width of those windows, in places of the layer below."""
    activation: Activation = "gelu"
    """The non-linearity after each hidden Wx + b. relu is the simplest; gelu is its smooth
    kin and does a little better."""
    batch_norm: bool = False
    """Normalise each unit over the batch before its activation: tolerates higher learning rates."""
    dropout: float = 0.0
    """Probability of silencing a hidden unit during training: against learning by heart."""


@dataclass(frozen=True)
class Augment:
    """Random changes to the training photos, new in every epoch, that leave a cat a cat."""

    flip: bool = True
    """Mirror left and right half of the time; also average the scores of a photo and its mirror image at prediction."""
    crop_area: float = 0.5
    """Smallest share of the photo's area that a random crop keeps (1 keeps the whole photo)."""
    crop_ratio: float = 1.25
    """Largest stretch of width against height of a random crop (1 keeps the proportions)."""
    brightness: float = 0.2
    """Largest change of brightness, as a share."""
    contrast: float = 0.2
    """Largest change of contrast, as a share."""
    saturation: float = 0.2
    """Largest change of colourfulness, as a share."""
    mixup: float = 0.0
    """Alpha of the Beta distribution by which pairs of photos are blended (0 is off)."""


@dataclass(frozen=True)
class Training:
    """The loss, and how the weights move against its gradient."""

    epochs: int = 30
    """How many times the network sees every training photo."""
    batch_size: int = 512
    """Photos in one step. Larger is quicker per photo, up to a point; smaller takes more steps."""
    accumulate: int = 1
    """Split each batch into so many parts and add up their gradients: the same step in less memory."""
    loss: Literal["softmax", "svm"] = "softmax"
    """softmax: cross-entropy of the probabilities. svm: multi-class hinge loss with margin 1."""
    squared_hinge: bool = False
    """Square each hinge of the svm loss: large mistakes weigh more."""
    label_smoothing: float = 0.1
    """Share of the target spread evenly over the classes (softmax only): some labels are wrong, no photo is certain."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: weigh each photo by the inverse of its class's frequency, for classes of unequal size."""
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    """adamw adapts the rate of each weight. sgd with momentum 0 is plain gradient descent, w' = w - lr * dE/dw. muon
    makes all directions of a step equally long, for matrices between hidden layers; all else is moved by adamw."""
    share_epochs: int = 0
    """For so many epochs all places of a local layer have the same weights (a convolution); then each goes on with its
    own."""
    learning_rate: float = 5e-4
    """lr: how far a step moves against the gradient; the highest rate reached, after warm-up."""
    momentum: float = 0.9
    """How much of the last step is kept in the next one (sgd only)."""
    weight_decay: float = 0.5
    """Pull of every weight matrix towards zero (biases are left alone); for adamw, decoupled from the gradient."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """How the learning rate goes on after warm-up: down to 0 along a cosine, constant, or down in steps."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises from 0: the first gradients point nowhere in particular."""
    step_epochs: int = 10
    """For the step schedule: epochs between two cuts of the rate."""
    step_factor: float = 0.1
    """For the step schedule: what the rate is multiplied by at each cut."""
    ema: float = 0.99
    """Decay of the running average of the weights that is evaluated and saved (0 is off): steadier than the
    last step."""
    clip_norm: float = 1.0
    """Largest norm of the gradient over all weights; a longer one is shortened to it (0 is off)."""
    early_stopping: int = 0
    """Stop after so many epochs without a better validation accuracy (0 is off)."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """When the loss is no longer a number, or a million times that of guessing: stop; or roll back, that is, go on from
    the start of the epoch with half the learning rate, at most 8 times."""


@dataclass(frozen=True)
class Run:
    """Where and on what the training runs."""

    out: str = ""
    """Folder of the run; empty: runs/<date>-<time>."""
    device: str = "auto"
    """auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the forward pass multiplies matrices in; auto: bfloat16 on a GPU that has it, else float16 on a GPU, else
    float32. Weights are float32 always."""
    compile: bool = False
    """Let torch.compile make the network's own kernels: a longer start, then shorter steps on some GPUs."""
    threads: int = 0
    """CPU threads (0: as many as there are cores)."""
    seed: int = 0
    """Where all randomness starts: the same seed gives the same network on the same machine."""
    checkpoint_minutes: float = 5.0
    """A checkpoint is written at the end of each epoch, and within an epoch after so many minutes."""


@dataclass(frozen=True)
class Config:
    """All sections. `Config()` is the default."""

    photos: Photos = field(default_factory=Photos)
    model: Model = field(default_factory=Model)
    augment: Augment = field(default_factory=Augment)
    training: Training = field(default_factory=Training)
    run: Run = field(default_factory=Run)

    @property
    def architecture(self) -> Architecture:
        """The network that [model] asks for."""
        m = self.model
        return Architecture(
            self.photos.image_size, m.hidden, m.activation, m.batch_norm, m.dropout, m.local, m.field, m.model
        )


SECTIONS: dict[str, type] = {"photos": Photos, "model": Model, "augment": Augment, "training": Training, "run": Run}


@dataclass(frozen=True)
class Field:
    """One field of the configuration, as the TOML file and the flags see it."""

    section: str
    name: str
    type: Any
    default: Any
    doc: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...] | None:
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else None


@functools.cache
def fields() -> dict[str, Field]:
    """Every field by its name, in order."""
    found = {}
    for section, cls in SECTIONS.items():
        types, docs = typing.get_type_hints(cls), _field_docs(cls)
        for f in dataclasses.fields(cls):
            found[f.name] = Field(section, f.name, types[f.name], f.default, docs[f.name])
    return found


def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field of a dataclass."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(node, ast.ClassDef)
    docs = {}
    for above, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(above.target, ast.Name)
            docs[above.target.id] = " ".join(str(below.value.value).split())
    return docs


def load_config(path: str | Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Defaults, then the TOML file at `path`, then `flags` (field name to value); checked.

    Raises CatdogError naming the unknown or ill-typed field, with the nearest valid name.
    """
    values: dict[str, Any] = {}
    if path:
        try:
            values.update(_read_toml(Path(path).read_text(encoding="utf-8"), str(path)))
        except OSError as error:
            raise CatdogError(f"cannot read the configuration {path}: {error.strerror}; check the path.") from None
        except UnicodeDecodeError:
            raise CatdogError(f"{path} is not a TOML file: it is not text.") from None
    values.update(flags or {})
    return check(_build(values))


def parse_config(text: str, name: str) -> Config:
    """The configuration in the TOML `text`, which errors call `name`."""
    return check(_build(dict(_read_toml(text, name))))


def _build(values: Mapping[str, Any]) -> Config:
    known = fields()
    by_section: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        by_section[known[name].section][name] = _typed(known[name], value)
    return Config(**{section: cls(**by_section[section]) for section, cls in SECTIONS.items()})


def _read_toml(text: str, path: str) -> Iterator[tuple[str, Any]]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, numbers of thousands of digits, brackets in brackets
        raise CatdogError(f"{path} is not valid TOML: {error}.") from None
    for section, table in document.items():
        if section not in SECTIONS:
            raise CatdogError(f"{path}: unknown section [{section}]{nearest(section, SECTIONS)}.")
        if not isinstance(table, dict):
            raise CatdogError(f"{path}: {section} must be a section, [{section}], with its fields below it.")
        for name, value in table.items():
            known = [f.name for f in fields().values() if f.section == section]
            if name in known:
                yield name, value
            elif name in fields():
                raise CatdogError(f"{path}: {name} belongs in section [{fields()[name].section}], not [{section}].")
            else:
                raise CatdogError(f"{path}: unknown field {name} in [{section}]{nearest(name, known)}.")


def nearest(name: str, known: Any) -> str:
    """`; did you mean X?` for the known name nearest to `name`, or nothing if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}" if close else ""


def _typed(f: Field, value: Any) -> Any:
    """`value` as the type of field `f`; an int is taken where a float is wanted, nothing else is converted."""
    problem = CatdogError(f"{f.name} ({f.flag}) must be {_type_in_words(f.type)}, not {value!r}.")
    if f.choices:
        if value not in f.choices:
            raise CatdogError(f"{str(problem)[:-1]}{nearest(str(value), f.choices)}.")
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


def _type_in_words(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        return "a list of whole numbers" if Ellipsis in items else f"{len(items)} whole numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]


# Least and greatest value allowed of each number.
_RANGES: dict[str, tuple[float, float]] = {
    "image_size": (1, 10_000),
    "val_share": (0.01, 0.9),
    "max_skipped": (0, 1),
    "cache_limit": (0, 1e9),
    "hidden": (1, 1_000_000),
    "local": (1, 100_000),
    "field": (2, 100),
    "dropout": (0, 0.99),
    "crop_area": (0.01, 1),
    "crop_ratio": (1, 10),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "saturation": (0, 1),
    "mixup": (0, 100),
    "epochs": (1, 1_000_000),
    "share_epochs": (0, 1_000_000),
    "batch_size": (1, 10_000_000),
    "accumulate": (1, 10_000_000),
    "label_smoothing": (0, 0.99),
    "learning_rate": (1e-12, 1e3),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 1e3),
    "warmup_epochs": (0, 1_000_000),
    "step_epochs": (1, 1_000_000),
    "step_factor": (0, 1),
    "ema": (0, 0.999999),
    "clip_norm": (0, 1e9),
    "early_stopping": (0, 1_000_000),
    "threads": (0, 4096),
    "seed": (0, 2**32 - 1),
    "checkpoint_minutes": (0, 1e6),
}


def check(config: Config) -> Config:
    """`config` itself if every value is in its range and the fields fit each other.

    Raises CatdogError naming the field otherwise.
    """
    for f in fields().values():
        value = getattr(getattr(config, f.section), f.name)
        for number in value if isinstance(value, tuple) else (value,):
            if f.name in _RANGES:
                low, high = _RANGES[f.name]
                if not (math.isfinite(number) and low <= number <= high):
                    raise CatdogError(f"{f.name} ({f.flag}) must be from {low:g} to {high:g}, not {number:g}.")
    if config.training.accumulate > config.training.batch_size:
        raise CatdogError(
            f"accumulate ({config.training.accumulate}) must not exceed batch_size ({config.training.batch_size}): "
            "a part needs at least one photo."
        )
    if config.model.model == "mlp" and config.model.pretrained:
        raise CatdogError("there are no pretrained weights for mlp; leave --pretrained out, or give --model resnet18.")
    if config.model.model != "mlp":
        if config.training.optimizer == "muon":
            raise CatdogError(f"optimizer muon is for mlp, not for {config.model.model}; leave --optimizer out.")
        for f in fields().values():
            is_of_mlp = f.section == "model" and f.name not in ("model", "pretrained")
            if is_of_mlp and getattr(config.model, f.name) != f.default:
                raise CatdogError(f"{f.name} ({f.flag}) is for mlp, not for {config.model.model}; leave it out.")
    last = config.architecture.grids[-1]
    if last.height < 1 or last.width < 1:
        height, width = config.photos.image_size
        raise CatdogError(
            f"local (--local) has {len(config.model.local)} layers, and each halves the photo of {height} x {width} "
            "until no place is left; give fewer layers, a smaller --field, or a larger --image-size."
        )
    return config


def to_toml(config: Config) -> str:
    """`config` as a commented TOML file that `load_config` reads back to the same value."""
    lines = []
    for section, cls in SECTIONS.items():
        lines += [f"# {' '.join((cls.__doc__ or '').split())}", f"[{section}]"]
        for f in fields().values():
            if f.section == section:
                lines += _wrap_comment(f.doc)
                lines.append(f"{f.name} = {_toml_value(getattr(getattr(config, section), f.name))}")
        lines.append("")
    return "\n".join(lines)


def _wrap_comment(text: str, width: int = 110) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="# ")


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, str):
        # A TOML basic string has JSON's escapes, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
