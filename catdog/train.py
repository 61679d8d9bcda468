"""From a configuration to a run folder: the photos, the plan, the training, the summary."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from tqdm import tqdm

from catdog.base.atomic import write_text
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.text import many
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE, ModelCard
from catdog.checkpoint.training_state import check_fits, newest_state
from catdog.config.schema import validate
from catdog.config.settings import Config
from catdog.config.toml import load_config, parse_config, to_toml
from catdog.data.dataset import PhotoSet, load_photos
from catdog.data.decode_pool import Decoders
from catdog.data.duplicates import leak
from catdog.data.feed import Feed, PhotoStream, in_order, some_of_each_class
from catdog.data.listing import Listing
from catdog.data.pixel_cache import Decoded, decode_all
from catdog.data.prefetch import PinnedPhotos
from catdog.data.splits import SAMPLE, photo_folder, train_and_val
from catdog.drawing.curves import draw_curves
from catdog.errors import CatdogError, SettingsError
from catdog.images.decoder import RESIZE_FILTER
from catdog.model.mlp import MLP, count_weights
from catdog.runs.folder import RunFolder
from catdog.runs.paths import check_places, check_unused, settle
from catdog.runtime.distributed import Team, joined
from catdog.runtime.precision import choose_precision
from catdog.trainer.loop import Trainer

OnEpoch = Callable[[dict[str, float]], None]
DecodeAll = Callable[..., Decoded]
if TYPE_CHECKING:
    from catdog.model.torchvision import TorchvisionModel

    Network = MLP | TorchvisionModel

_STATISTICS = 4096  # photos, at most, whose colours are measured before training


def train(
    config: Config,
    log: Callable[[str], None] = print,
    narrate: bool = False,
    on_epoch: OnEpoch = lambda row: None,
    decode_all: DecodeAll = decode_all,
) -> Path:
    """Train as `config` says and return the run folder; with `narrate` tell the first step in all its numbers.

    `on_epoch` is given each row of metrics.csv, after the epoch is saved; what it raises ends the training.
    `decode_all` may be that of a `DecodingAhead`, which has begun before.

    Raises CatdogError for what the user can mend, before anything is written where that is possible, and Interrupted at
    a signal, after a checkpoint if training had begun.
    """
    with joined() as team, Signals(stop_at_once):
        if team.is_main:
            config = settle(config, log)
            run = Path(config.run.out)
            check_places(config)
            check_unused(run)
        if narrate and (config.model.local or config.model.model != "mlp"):
            raise CatdogError("--narrate tells of neurons that see the whole photo; leave out --local and --model.")
        if narrate and team.size > 1:
            raise CatdogError("--narrate tells the first step of a single process; leave it out, or start one.")
        return _train(_of_main(config, team), None, team, log, narrate, on_epoch, decode_all)


def resume(
    run: Path,
    log: Callable[[str], None] = print,
    on_nan: Literal["stop", "rollback"] | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> Path:
    """Go on with the training in the run folder `run` from its last whole checkpoint; `on_nan` changes that setting."""
    with joined() as team, Signals(stop_at_once):
        config, state = Config(), None
        if team.is_main:
            if not run.is_dir():
                raise CatdogError(f"there is no run folder {run} to resume; give one that `catdog train` made.")
            with RunFolder(run) as folder:
                config, state, note = _saved(run)
                if note:
                    folder.logger(log)(note)
            config = replace(config, run=replace(config.run, out=str(run)))
            if on_nan:
                config = validate(replace(config, training=replace(config.training, on_nan=on_nan)))
        return _train(_of_main(config, team), state, team, log, False, on_epoch, decode_all)


def _of_main(config: Config, team: Team) -> Config:
    """The configuration of the team's main process, which alone has looked at folders and at the clock."""
    return parse_config(team.same(to_toml(config)), "the configuration") if team.size > 1 else config


def _saved(run: Path) -> tuple[Config, dict[str, Any] | None, str]:
    """The configuration and the newest whole checkpoint of a run, and what is to be said of it, if anything."""
    config_file, checkpoints = run / "config.toml", (run / STATE_FILE, run / PREVIOUS_FILE)
    if config_file.is_file() and not any(path.exists() for path in checkpoints):
        return load_config(config_file), None, f"{run} holds no checkpoint yet, so this starts from the beginning."
    state, note = newest_state(run)
    try:
        config = parse_config(state["config"], f"the configuration in {run / STATE_FILE}")
        if not all(isinstance(name, str) for name in state["classes"]):
            raise ValueError("its classes have no names")
        if len(config.model.hidden) + len(config.model.local) > len(state["model"]):
            raise ValueError("its weights are not those of its configuration")
        with torch.device("meta"):  # shapes without numbers: nothing of a size that only the file claims is made
            check_fits(state["model"], build_network(config, len(state["classes"])).state_dict(), "model")
    except CatdogError:
        raise
    except Exception as error:  # it is whole, but anything may be in a file that somebody made
        raise _does_not_fit(run, error) from None
    return config, state, note


def _does_not_fit(run: Path, error: Exception) -> CatdogError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return CatdogError(f"cannot go on from {run / STATE_FILE} ({reason}); resume another run, or train again.")


def _train(
    config: Config,
    state: dict[str, Any] | None,
    team: Team,
    log: Callable[[str], None],
    narrate: bool,
    on_epoch: OnEpoch,
    decode_all: DecodeAll,
) -> Path:
    """Train in a run folder that is empty, or from the checkpoint `state`, which the team's main process has."""
    run = Path(config.run.out)
    device, device_in_words = team.choose_device(config.run.device)
    threads = config.run.threads or max(1, (os.cpu_count() or 1) // team.local_size)
    torch.set_num_threads(threads)
    team.start(device)
    state = team.from_main(state)
    with team.first_on_machine():
        train_listing, val_listing = train_and_val(
            photo_folder(config.photos), config.photos.val_share, config.run.seed
        )
    if state is not None and tuple(state["classes"]) != train_listing.classes:
        raise CatdogError(
            f"{run} was started with the classes {', '.join(state['classes'])}, and {train_listing.root} now holds "
            f"{', '.join(train_listing.classes)}; put its folders back, or train again."
        )
    torch.manual_seed(config.run.seed)
    with team.first_on_machine():  # who downloads weights, if any
        model = build_network(config, len(train_listing.classes), pretrained=state is None)
    if team.is_main:
        log(plan(config, model, train_listing, val_listing, device, device_in_words))

    # It takes a second, which the first optimizer would wait for: so it is done beside all that comes before.
    threading.Thread(target=import_module, args=("torch._dynamo",), daemon=True).start()
    with (
        team.first_on_machine(),  # who fills the cache, from which the others then read
        contextlib.closing(Decoders(config.photos.image_size, threads, len(train_listing))) as decoders,
    ):
        decode_all = partial(decode_all, decoders=decoders)
        train_photos = _load(train_listing, config, threads, "training", team, decode_all)
        val_photos = _load(val_listing, config, threads, "validation", team, decode_all)
    _require_readable(train_photos, val_photos)
    card = describe(config, train_photos)
    with RunFolder(run, writes=team.is_main) as folder:
        if state is None and team.is_main:
            # Without the folder itself, so that the file can be trained with again: that takes a new one.
            write_text(run / "config.toml", to_toml(replace(config, run=replace(config.run, out=""))))
        log_both = folder.logger(log)

        def note_skipped() -> None:
            skipped = [*train_photos.skipped, *val_photos.skipped]
            folder.write_skipped(skipped)
            if skipped:
                log_both(f"skipped {many(len(skipped), 'photo')} that cannot be read; {run / 'skipped.csv'} says why.")

        is_stream = isinstance(train_photos, PhotoStream)
        if not is_stream:
            note_skipped()
        if state is None and team.is_main and not is_stream and (warning := leak(train_listing, val_listing)):
            log_both(warning)
        if device.type == "cuda" and isinstance(train_photos, PhotoSet) and isinstance(val_photos, PhotoSet):
            photos = len(train_photos) + len(val_photos)
            if not _place_of_pixels(config, model, photos, device)[0]:
                train_photos, val_photos = PinnedPhotos(train_photos), PinnedPhotos(val_photos)
        show = folder.scalars()

        def note_epoch(row: dict[str, float]) -> None:
            show(row)
            on_epoch(row)

        trainer = Trainer(config, model, train_photos, val_photos, card, run, device, log_both, note_epoch, team)
        if state is not None:
            try:
                trainer.restore(state)
            except Exception as error:  # anything may be in a file that somebody made
                raise _does_not_fit(run, error) from None
            log_both(f"going on with {run} after epoch {trainer.progress.epoch}, step {trainer.progress.step}")
        if narrate:
            from catdog.tools.explain.narrate import narrate_training  # it tells with what explains a prediction

            unreadable = {photo.path for photo in train_photos.skipped}
            has_row = [is_stream or train_listing.path(i) not in unreadable for i in range(len(train_listing))]
            narrate_training(trainer, train_listing.select(has_row), log_both)
        started = time.perf_counter()
        try:
            trainer.fit()
        except Interrupted as stop:
            where = "stopped and saved" if stop.saved else "stopped at once, after the last checkpoint"
            log_both(f"{where}; go on with: catdog train --resume {run}")
            raise
        except torch.OutOfMemoryError as error:
            raise SettingsError(
                f"the memory of {device} is full ({str(error).splitlines()[0][:160]}); give --accumulate "
                f"{2 * config.training.accumulate}, a smaller --batch-size, or a smaller network."
            ) from None
        except CatdogError as error:
            folder.logger(lambda line: None)(str(error))  # who calls this function will show it
            raise
        finally:
            if is_stream:
                note_skipped()
        if team.is_main:
            draw_curves(trainer.progress.history, run / "curves.png")
        best = trainer.progress.best
        log_both(
            f"trained in {time.perf_counter() - started:.0f} s; best after epoch {best['epoch']}: "
            f"{best['val_accuracy']:.2%} of {len(val_photos):,} validation photos right\n"
            f"the network is {run / MODEL_FILE}; try: catdog predict PHOTO --run {run}"
        )
    return run


def build_network(config: Config, classes: int, pretrained: bool = False) -> "Network":
    """The network of `config`; with `pretrained` it begins with torchvision's weights, if that is configured."""
    m = config.model
    if m.model == "mlp":
        return build_model(config, classes)
    from catdog.model.torchvision import TorchvisionModel  # which MLPs do not wait for

    return TorchvisionModel(m.model, config.photos.image_size, classes, pretrained and m.pretrained)


def build_model(config: Config, classes: int) -> MLP:
    """The MLP of `config`."""
    return MLP.of(config.architecture, classes)


def plan(
    config: Config,
    model: "Network",
    train: Listing,
    val: Listing,
    device: torch.device,
    device_in_words: str,
) -> str:
    """What is about to happen: data, network, number of weights, device, precision, memory."""
    height, width = config.photos.image_size
    inputs = 3 * height * width
    m = config.model
    sees = f", so each neuron of the first layer has {inputs:,} weights and a bias"
    if m.local:
        window = f"{m.field} x {m.field} pixels and has {3 * m.field**2:,}"
        sees = f", and each neuron of the first layer sees {window} weights and a bias"
    elif m.model != "mlp":
        sees = ""

    def in_words(listing: Listing) -> str:
        each = ", ".join(f"{count:,} {name}" for name, count in zip(listing.classes, listing.counts(), strict=True))
        return f"{len(listing):,} ({each})"

    t = config.training
    on_gpu = device.type == "cuda" and config.photos.cache != "none"
    compiled = "; compiled at the first steps" if config.run.compile else ""
    rate = f"{t.optimizer}, learning rate {t.learning_rate:g} ({t.schedule})"
    return "\n".join(
        [
            f"photos     {'drawn cats and dogs' if config.photos.data == SAMPLE else config.photos.data}",
            f"           train {in_words(train)}",
            f"           val   {in_words(val)}",
            f"input      {width} x {height} RGB = {inputs:,} numbers a photo{sees}",
            *(f"{'network' if i == 0 else '':<11}{line}" for i, line in enumerate(model.describe().splitlines())),
            f"training   {t.epochs} epochs in batches of {t.batch_size}, {t.loss} loss, {rate}",
            f"device     {device_in_words}",
            f"precision  {choose_precision(config.run.precision, device).in_words()}{compiled}",
            f"memory     about {_memory(config, model, len(train) + len(val)) / 2**20:,.0f} MiB",
            *([f"pixels     {_place_of_pixels(config, model, len(train) + len(val), device)[1]}"] if on_gpu else []),
            f"run        {config.run.out}",
        ]
    )


def _memory(config: Config, model: "Network", photos: int) -> int:
    """Bytes that training will take at most, roughly."""
    t = config.training
    copies = 3 + (2 if t.optimizer != "sgd" else 1 if t.momentum else 0) + (1 if t.ema else 0)
    inputs = 3 * config.photos.image_size[0] * config.photos.image_size[1]
    activations = t.batch_size // t.accumulate * model.numbers_kept() * 4
    batch = t.batch_size * inputs * 4 * 3
    pixels = 0 if config.photos.cache == "none" else photos * inputs
    return 800 * 2**20 + copies * 4 * count_weights(model) + pixels + batch + activations


def _place_of_pixels(config: Config, model: "Network", photos: int, device: torch.device) -> tuple[bool, str]:
    """Whether the pixels of so many photos fit on the GPU `device` beside the training, and in words where they go."""
    free, _ = torch.cuda.mem_get_info(device)
    pixels = photos * 3 * config.photos.image_size[0] * config.photos.image_size[1]
    training = _memory(config, model, photos) - pixels
    size = f"{pixels / 2**20:,.0f} MiB, uint8; {free / 2**20:,.0f} MiB are free there"
    if training + pixels <= free:
        return True, f"all on the GPU ({size})"
    return False, f"in main memory, and each batch copied to the GPU ahead of its use ({size})"


def _load(listing: Listing, config: Config, threads: int, what: str, team: Team, decode_all: DecodeAll) -> Feed:
    photos = config.photos
    if photos.cache == "none":
        # With several processes each must find as many photos in a batch as the others think it does.
        strict = photos.strict or team.size > 1
        return PhotoStream(listing, photos.image_size, threads=threads, strict=strict, max_skipped=photos.max_skipped)
    bar = tqdm(total=len(listing), desc=f"decoding {what} photos", unit=" photos", disable=None, leave=False)

    def progress(done: Iterable[int]) -> Iterable[int]:
        for count in done:
            bar.update(count)
            yield count

    with bar:
        return load_photos(
            listing,
            photos.image_size,
            cache_folder=photos.cache,
            cache_limit=photos.cache_limit,
            threads=threads,
            strict=photos.strict,
            max_skipped=photos.max_skipped,
            progress=progress,
            decode_all=decode_all,
        )


def _require_readable(train: Feed, val: Feed) -> None:
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    for name, count in zip(train.classes, counts, strict=True):
        if count == 0:
            raise CatdogError(f"no photo of the class {name!r} can be read; the first: {train.skipped[0].reason}")
    if not len(val):
        raise CatdogError(f"none of the photos to validate on can be read; the first: {val.skipped[0].reason}")


def describe(config: Config, train: Feed) -> ModelCard:
    """The card of the network that `config` makes of the photos `train`."""
    mean, std, mean_colours = colour_statistics(train)
    m = config.model
    if m.pretrained:
        from catdog.model.torchvision import pretrained_colours

        mean, std = pretrained_colours(m.model)
    return ModelCard(
        architecture=config.architecture,
        classes=train.classes,
        mean=mean,
        std=std,
        resize_filter=RESIZE_FILTER,
        average_mirrored=config.augment.flip,
        loss=config.training.loss,
        temperature=1.0,
        squared_hinge=config.training.squared_hinge,
        mean_colours=mean_colours,
        train_counts=tuple(torch.bincount(train.labels, minlength=len(train.classes)).tolist()),
    )


def colour_statistics(photos: Feed) -> tuple[Any, Any, Any]:
    """(mean, standard deviation of each channel over all pixels, mean colour of each class), in levels.

    Of many photos, some of each class are taken. Sums are of whole numbers below 2^53, so exact in any order.
    """
    share = 4 if isinstance(photos, PhotoStream) else 1  # there each photo has to be decoded for it
    most = max(16, _STATISTICS // share // len(photos.classes))
    batches = some_of_each_class(photos.labels, most).split(len(in_order(photos)[0]))
    pixels = photos.image_size[0] * photos.image_size[1]
    found, labels, squares = [], [], torch.zeros(3, dtype=torch.float64)
    for rows, some in photos.batches(batches):
        levels = some.double()
        found.append(levels.sum(dim=(2, 3)))
        labels.append(photos.labels[rows])
        squares += levels.square_().sum(dim=(0, 2, 3))
    sums, found_labels = torch.cat(found), torch.cat(labels)
    mean = sums.sum(0) / (len(sums) * pixels)
    std = (squares / (len(sums) * pixels) - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std < 1, torch.ones_like(std), std)  # photos all of one colour
    by_class = torch.zeros(len(photos.classes), 3, dtype=torch.float64).index_add_(0, found_labels, sums)
    counts = torch.bincount(found_labels, minlength=len(photos.classes)).clamp(min=1)
    colours = by_class / (counts[:, None] * pixels)
    return tuple(mean.tolist()), tuple(std.tolist()), tuple(tuple(colour) for colour in colours.tolist())
