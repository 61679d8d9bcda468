"""What a training is about to do, in words, with the memory that it will take."""

from typing import TYPE_CHECKING

import torch

from catdog.base.text import many
from catdog.config.settings import Config
from catdog.data.batches import steps_per_epoch
from catdog.data.cache_folder import default_folder, is_writable
from catdog.data.listing import Listing, is_address
from catdog.data.splits import SAMPLE
from catdog.model.mlp import count_weights
from catdog.runtime.precision import choose_precision

if TYPE_CHECKING:
    from catdog.model.build import Network


def describe_plan(
    config: Config, model: "Network", listings: tuple[Listing, Listing], device: torch.device, *words: str
) -> str:
    """The plan as text: data, network, number of weights, steps, device, memory. words: on device, batch and start."""
    from catdog.data.names import told_apart

    (train, val), (device_in_words, batch_in_words, start_in_words) = listings, words
    share, folds = len(val) / (len(train) + len(val)), config.photos.folds
    height, width = config.photos.image_size
    inputs = 3 * height * width
    m = config.model
    sees = f", so each neuron of the first layer has {inputs:,} weights and a bias"
    if m.local:
        window = f"{m.field} x {m.field} pixels and has {3 * m.field**2:,}"
        sees = f", and each neuron of the first layer sees {window} weights and a bias"
    elif m.model != "mlp":
        sees = ""

    def in_words(*listings: Listing) -> str:
        counts = [sum(of_class) for of_class in zip(*(listing.counts() for listing in listings), strict=True)]
        each = ", ".join(f"{count:,} {name}" for name, count in zip(told_apart(train.classes), counts, strict=True))
        if len(each) > 80:
            each = f"{len(counts):,} classes of {min(counts):,} to {max(counts):,} photos each"
        return f"{sum(counts):,} ({each})"

    t = config.training
    store = []
    if is_address(config.photos.data):
        from catdog.data.remote import what_is_read

        store = [f"store      {what_is_read(listings, kept=config.photos.cache != 'none')}"]
    on_gpu = device.type == "cuda" and config.photos.cache != "none"
    unkept = config.photos.cache == "auto" and not is_writable(default_folder())
    compiled = "; compiled at the first steps" if config.run.compile else ""
    steps = many(steps_per_epoch(len(train), t.batch_size, model.least_photos), "step")
    trained = []
    if t.train_layers or t.keep_statistics:
        from catdog.model.transfer import describe_trained

        trained = [f"trained    {describe_trained(model, t)}"]
    steps = f"{many(t.epochs, 'epoch')} of {steps}, in batches of {t.batch_size}{batch_in_words}"
    rate = f"{t.optimizer}, learning rate {t.learning_rate:g} ({t.schedule})"
    if t.optimizer == "lbfgs":
        views = " and its mirror image" * config.augment.flip
        steps, rate = f"of each photo{views}, looked at once", "the best weights found by L-BFGS"
    return "\n".join(
        [
            f"photos     {'drawn cats and dogs' if config.photos.data == SAMPLE else config.photos.data}",
            *(
                [
                    f"           train {in_words(train)}",
                    f"           val   {in_words(val)}, {share:.0%} of all, kept apart to measure with",
                ]
                if folds == 1
                else [
                    f"           all   {in_words(train, val)}, too few to keep some apart: in {folds} folds,",
                    "           each is answered by a network of the other folds; then one network learns from all",
                ]
            ),
            *store,
            f"input      {width} x {height} RGB = {inputs:,} numbers a photo{sees}",
            *(f"{'network' if i == 0 else '':<11}{line}" for i, line in enumerate(model.describe().splitlines())),
            *([f"start      {start_in_words}"] if start_in_words else []),
            *trained,
            f"training   {steps}",
            f"           {t.loss} loss, {rate}",
            f"device     {device_in_words}",
            f"precision  {choose_precision(config.run.precision, device).in_words()}{compiled}",
            f"memory     about {_memory(config, model, len(train) + len(val)) / 2**20:,.0f} MiB",
            *([f"pixels     {_place_of_pixels(config, model, len(train) + len(val), device)[1]}"] if on_gpu else []),
            *(["cache      main memory: no cache folder can be written; give one with --cache DIR"] if unkept else []),
            f"run        {config.run.out}",
        ]
    )


def _memory(config: Config, model: "Network", photos: int) -> int:
    """Bytes that training will take at most, roughly."""
    t = config.training
    saved = 1 + (2 if t.optimizer != "sgd" else 1 if t.momentum else 0) + (1 if t.ema else 0)
    # A gradient, what a checkpoint holds, a copy of that while it is written, and the model file, read and written.
    copies = 3 + 2 * saved
    inputs = 3 * config.photos.image_size[0] * config.photos.image_size[1]
    activations = t.batch_size // t.accumulate * model.activation_numbers() * 4
    batch = t.batch_size * inputs * 4 * 3
    pixels = 0 if config.photos.cache == "none" else photos * inputs
    return 700 * 2**20 + copies * 4 * count_weights(model) + pixels + batch + activations


def pixels_fit(config: Config, model: "Network", listings: tuple[Listing, Listing], device: torch.device) -> bool:
    """Whether decoded pixels have room on the `device` beside the training; always so on a CPU."""
    if device.type != "cuda" or config.photos.cache == "none":
        return True
    return _place_of_pixels(config, model, sum(map(len, listings)), device)[0]


def _place_of_pixels(config: Config, model: "Network", photos: int, device: torch.device) -> tuple[bool, str]:
    """Whether the pixels of so many photos fit on the GPU `device` beside the training, and in words where they go."""
    free, _ = torch.cuda.mem_get_info(device)
    pixels = photos * 3 * config.photos.image_size[0] * config.photos.image_size[1]
    training = _memory(config, model, photos) - pixels
    size = f"{pixels / 2**20:,.0f} MiB, uint8; {free / 2**20:,.0f} MiB are free there"
    if training + pixels <= free:
        return True, f"all on the GPU ({size})"
    return False, f"in main memory, and each batch copied to the GPU ahead of its use ({size})"
