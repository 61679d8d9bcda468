"""From a configuration to a run folder: the photos, the plan, the training, the summary."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.text import many
from catdog.base.threads import thread_count
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.schema import check_parts, validate
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data.batches import choose_batch_size
from catdog.data.imagefolder import PhotoFolder
from catdog.data.listing import Listing
from catdog.data.load import open_folders
from catdog.data.splits import photo_folder, train_and_val
from catdog.errors import CatdogError, SettingsError
from catdog.model.build import build_network
from catdog.runs.folder import RunFolder
from catdog.runs.paths import settle_and_check
from catdog.runtime.join import join_world
from catdog.runtime.world import World
from catdog.trainer.card import make_card
from catdog.trainer.events import Listener
from catdog.trainer.loop import Trainer
from catdog.trainer.plan import describe_plan, pixels_fit
from catdog.trainer.snapshots import check_classes, does_not_fit


def train(config: Config, log: Callable[[str], None] = print, listeners: Sequence[Listener] = ()) -> Path:
    """Train as `config` says and return the run folder.

    log: given each line that is printed, which train.log gets too. listeners: called with each event of the training
    (`catdog.trainer.events`); what one of them raises ends it.

    Raises CatdogError for what the user can mend, before anything is written where that is possible, and Interrupted at
    a signal, after a checkpoint if training had begun.
    """
    with join_world() as world, Signals(stop_at_once):
        config = settle_and_check(config, log) if world.is_main else config
        return _train(_of_main(config, world), None, world, log, listeners)


def resume(
    run: Path,
    log: Callable[[str], None] = print,
    on_nan: Literal["stop", "rollback"] | None = None,
    listeners: Sequence[Listener] = (),
) -> Path:
    """Resume the training in the run folder `run` from its last whole checkpoint; `on_nan` changes that setting."""
    from catdog.trainer.resume import load_saved

    with join_world() as world, Signals(stop_at_once):
        config, saved = Config(), None
        if world.is_main:
            if not run.is_dir():
                raise CatdogError(f"there is no run folder {run} to resume; give one that `catdog train` made.")
            with RunFolder(run) as folder:
                config, saved, note = load_saved(run)
                if note:
                    folder.logger(log)(note)
            config = replace(config, run=replace(config.run, out=str(run)))
            if on_nan:
                config = validate(replace(config, training=replace(config.training, on_nan=on_nan)))
        return _train(_of_main(config, world), saved, world, log, listeners)


def _of_main(config: Config, world: World) -> Config:
    """The configuration of the main process, which alone has looked at folders and at the clock."""
    return parse_config(world.same(to_toml(config)), "the configuration") if world.size > 1 else config


def _train(
    config: Config,
    saved: dict[str, Any] | None,
    world: World,
    log: Callable[[str], None],
    listeners: Sequence[Listener],
) -> Path:
    """Train in a run folder that is empty, or from the checkpoint `saved`, which the main process has."""
    run, photos = Path(config.run.out), config.photos
    device, device_in_words = world.choose_device(config.run.device)
    threads, threads_in_words = thread_count(config.run.threads, world.local_size)
    torch.set_num_threads(threads)
    world.start(device)
    saved = world.from_main(saved)
    with world.first_on_machine():  # who draws the drawn set, if it is wanted
        listings = train_and_val(photo_folder(photos), photos.val_share, config.run.seed)
    if saved is not None:
        check_classes(saved, listings[0], run)
    torch.manual_seed(config.run.seed)
    with world.first_on_machine():  # who downloads weights, if any
        model = build_network(config, len(listings[0].classes), pretrained=saved is None)
    check_parts(config.training, model.least_photos)
    size = config.training.batch_size or choose_batch_size(
        len(listings[0]), model.least_photos * config.training.accumulate
    )
    chosen = "" if config.training.batch_size else " (chosen for so many photos)"
    config = replace(config, training=replace(config.training, batch_size=size))
    if world.is_main:
        log(describe_plan(config, model, listings, device, f"{device_in_words}; {threads_in_words}", chosen))

    # It takes a second, which the first optimizer would wait for: so it is done beside all that comes before.
    threading.Thread(target=import_module, args=("torch._dynamo",), daemon=True).start()
    if photos.cache == "none" and world.size > 1:  # each must find as many photos in a batch as the others expect
        photos = replace(photos, strict=True)
    with world.first_on_machine():  # who fills the cache, from which the others then read
        folders = open_folders(listings, photos, threads)
    if not pixels_fit(config, model, listings, device):
        for folder_of_photos in folders:
            folder_of_photos.keep_in_main_memory()
    card = make_card(config, folders[0])

    with RunFolder(run, writes=world.is_main) as folder:
        log = folder.logger(log)
        if saved is None:
            folder.write_config(config)
        if photos.cache != "none":
            _note_skipped(folders, folder, log)
            if saved is None and world.is_main:
                _warn_of_copies(listings, log)
        boards = _boards(run) if world.is_main else []
        trainer = Trainer(config, model, *folders, card, run, device, log, [*boards, *listeners], world)
        if saved is not None:
            _restore(trainer, saved)
        started = time.perf_counter()
        try:
            _fit(trainer, folder, log)
        finally:
            if photos.cache == "none":  # whose photos are read as they are needed
                _note_skipped(folders, folder, log)
        _summarize(trainer, time.perf_counter() - started, log)
    return run


def _restore(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Put the checkpoint into the trainer; CatdogError if it is not of this training."""
    try:
        trainer.restore(saved)
    except Exception as error:  # anything may be in a file that somebody made
        raise does_not_fit(trainer.run, error) from None
    progress = trainer.state.progress
    trainer.log(f"going on with {trainer.run} after epoch {progress.epoch}, step {progress.step}")


def _note_skipped(folders: Sequence[PhotoFolder], folder: RunFolder, log: Callable[[str], None]) -> None:
    """List the photos that could not be read in skipped.csv, and log how many."""
    skipped = [photo for photos in folders for photo in photos.skipped]
    folder.write_skipped(skipped)
    if skipped:
        reasons = folder.path / "skipped.csv"
        log(f"skipped {many(len(skipped), 'photo')} that cannot be read; {reasons} says why.")


def _fit(trainer: Trainer, folder: RunFolder, log: Callable[[str], None]) -> None:
    """Fit, with a line in train.log for what ends it too early."""
    try:
        trainer.fit()
    except Interrupted as stop:
        where = "stopped and saved" if stop.saved else "stopped at once, after the last checkpoint"
        log(f"{where}; go on with: catdog train --resume {folder.path}")
        raise
    except torch.OutOfMemoryError as error:
        parts = trainer.config.training.accumulate
        in_part = len(trainer.train) // trainer.steps_per_epoch // trainer.world.size // parts
        smaller = f"--accumulate {2 * parts}, a smaller --batch-size, " if in_part >= 2 * trainer.least else ""
        raise SettingsError(
            f"the memory of {trainer.device} is full ({str(error).splitlines()[0][:160]}); give {smaller}a smaller "
            "--image-size, or a smaller network."
        ) from None
    except CatdogError as error:
        folder.logger(lambda line: None)(str(error))  # who calls this function will show it
        raise


def _warn_of_copies(listings: tuple[Listing, Listing], log: Callable[[str], None]) -> None:
    from catdog.data.duplicates import leak

    if warning := leak(*listings):
        log(warning)


def _boards(run: Path) -> list[Listener]:
    from catdog.trainer.tensorboard import tensorboard_writer

    return tensorboard_writer(run)


def _summarize(trainer: Trainer, seconds: float, log: Callable[[str], None]) -> None:
    """Draw the curves, and log how good the network is and how it is used."""
    progress, run = trainer.state.progress, trainer.run
    if trainer.world.is_main:
        from catdog.drawing.curves import draw_curves  # matplotlib takes a while to import

        draw_curves(progress.history, run / "curves.png")
    log(
        f"trained in {seconds:.0f} s; best after epoch {progress.best['epoch']}: "
        f"{progress.best['val_accuracy']:.2%} of {len(trainer.val):,} validation photos right\n"
        f"the network is {run / MODEL_FILE}; try: catdog predict PHOTO --run {run}"
    )
