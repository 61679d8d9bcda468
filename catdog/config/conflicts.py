"""Refuses settings that contradict each other, though each is in its range."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from catdog.architecture import MAX_LAYERS
from catdog.base.text import many
from catdog.config.settings import Config, Training
from catdog.errors import CatdogError

if TYPE_CHECKING:
    from catdog.config.schema import Field


def refuse_conflicts(config: Config, fields: Mapping[str, "Field"]) -> None:
    """Raise CatdogError, naming the field, where fields are not compatible with each other.

    fields: all of the configuration, by name.
    """
    if (config.training.train_layers or config.training.keep_statistics) and not (
        config.model.pretrained or config.model.start_from != "none"
    ):
        raise CatdogError(
            "train_layers (--train-layers) and keep_statistics (--keep-statistics) keep what a network has learned; "
            "give --start-from RUN too, or leave them out."
        )
    if config.model.start_from not in ("none", "auto") and not fields.keys() <= config.given:
        return  # the network comes from there, and is checked with it (catdog.runs.start)
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
        for f in fields.values():
            # Runs of torchvision's networks may hold batch_norm = false, which was the default once.
            is_of_mlp = f.section == "model" and f.name not in ("model", "pretrained", "start_from", "batch_norm")
            if is_of_mlp and getattr(config.model, f.name) != f.default:
                raise CatdogError(f"{f.name} ({f.flag}) is for mlp, not for {config.model.model}; leave it out.")
    m = config.model
    for name in ("shared", "blocks", "pool", "pool_all"):
        if getattr(m, name) and not m.local:
            flag = fields[name].flag
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
    refuse_small_parts(config.training, config.architecture.least_photos, ", or --no-batch-norm")
    last = config.architecture.grids[-1]
    if last.height < 1 or last.width < 1:
        height, width = config.photos.image_size
        raise CatdogError(
            f"local (--local) has {len(config.model.local)} layers, and each halves the photo of {height} x {width} "
            "until no place is left; give fewer layers, a smaller --field, or a larger --image-size."
        )


def refuse_small_parts(training: Training, least: int, otherwise: str = "") -> None:
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
