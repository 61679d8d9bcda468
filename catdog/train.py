"""From a configuration to a run folder: the photos, the plan, the training, the summary."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from catdog.base.signals import Signals, stop_at_once
from catdog.base.text import in_shell, many, percent
from catdog.base.threads import thread_count
from catdog.checkpoint.model_card import DRAWINGS, ModelCard
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data.listing import Listing
from catdog.data.load import open_folders
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.splits import photo_folder, train_and_val
from catdog.errors import CatdogError
from catdog.model.build import build_network
from catdog.runs.folder import RunFolder
from catdog.runtime.join import join_world
from catdog.runtime.world import World
from catdog.trainer.batch_size import with_batch_size
from catdog.trainer.card import make_card
from catdog.trainer.events import Event, Listener, TrainingDone
from catdog.trainer.loop import Trainer
from catdog.trainer.plan import describe_plan, pixels_fit

if TYPE_CHECKING:
    from catdog.model.build import Network


def train(
    config: Config,
    log: Callable[[str], None] = print,
    listeners: Sequence[Listener] = (),
    folder: RunFolder | None = None,
) -> Path:
    """Train as `config` says and return the run folder.

    log: given each line that is printed, which train.log gets too. listeners: called with each event of the training
    (`catdog.trainer.events`); what one of them raises ends it. folder: that of `catdog.runs.paths.new_run`, if it was
    called before.

    Raises CatdogError for what the user can mend, before anything is written where that is possible, and Interrupted at
    a signal, after a checkpoint if training had begun.
    """
    with join_world() as world, Signals(stop_at_once), ExitStack() as stack:
        if world.is_main and folder is None:
            from catdog.runs.paths import new_run  # which the command line calls before torch is there

            config, folder = stack.enter_context(new_run(config, log))
        return _together(config, None, "", folder or RunFolder(Path(config.run.out), writes=False), world, listeners)


def resume(
    run: Path,
    log: Callable[[str], None] = print,
    listeners: Sequence[Listener] = (),
    *,
    epochs: int | None = None,
    early_stopping: int | None = None,
    on_nan: Literal["stop", "rollback"] | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Path:
    """Resume the training in the run folder `run` from its last whole checkpoint, as if it had not been stopped.

    The others change these settings of it; with more `epochs` a finished training goes on.
    """
    from catdog.trainer.resume import load_saved

    changes = dict(epochs=epochs, early_stopping=early_stopping, on_nan=on_nan, threads=threads, device=device)
    with join_world() as world, Signals(stop_at_once), RunFolder(run, log, writes=world.is_main) as folder:
        config, saved, finished = load_saved(folder, changes) if world.is_main else (Config(), None, "")
        config = replace(config, run=replace(config.run, out=str(run)))
        return _together(config, saved, finished, folder, world, listeners)


def _together(
    config: Config,
    saved: dict[str, Any] | None,
    finished: str,
    folder: RunFolder,
    world: World,
    listeners: Sequence[Listener],
) -> Path:
    """Train, unless it is `finished`, as the main process says, which alone has looked at folders and at the clock.

    So the others follow it into a new training or a resumed one, whichever they were called for.
    """
    if world.size > 1:
        config = parse_config(world.same(to_toml(config)), "the configuration")
        folder.path = Path(config.run.out)
    if world.same(finished):
        world.wait()
        return folder.path
    try:
        return _train(config, saved, folder, world, listeners)
    except (RuntimeError, MemoryError) as error:
        from catdog.trainer.recovery import is_out_of_memory, memory_is_full

        if is_out_of_memory(error):
            raise memory_is_full(error) from None
        raise


def _train(
    config: Config,
    saved: dict[str, Any] | None,
    folder: RunFolder,
    world: World,
    listeners: Sequence[Listener],
) -> Path:
    """Train in a run folder that is empty, or from the checkpoint `saved`, which the main process has."""
    from catdog.config.conflicts import refuse_small_parts

    run, photos = Path(config.run.out), config.photos
    device, device_in_words = world.choose_device(config.run.device)
    threads, threads_in_words = thread_count(config.run.threads, world.local_size)
    torch.set_num_threads(threads)
    world.start(device)
    saved = world.from_main(saved)
    listings = _list_photos(config, saved, world)
    model, of_start, start_in_words = _first_weights(config, listings[0].classes, saved, world)
    refuse_small_parts(config.training, model.least_photos)
    chosen = "" if config.training.batch_size else " (chosen for so many photos)"
    config = replace(config, training=with_batch_size(config.training, len(listings[0]), model.least_photos))
    if photos.folds != 1:
        from catdog.trainer.folds import with_folds

        config = with_folds(config, listings, world)
        photos = config.photos
    if saved is None:
        folder.write_config(config)  # the first file: a folder that holds one can be resumed
    if world.is_main:
        words = (f"{device_in_words}; {threads_in_words}", chosen, start_in_words)
        folder.log(describe_plan(config, model, listings, device, *words))
        from catdog.data.remarks import remarks

        for remark in remarks(photo_folder(photos), *listings):
            folder.log(remark)

    folders = _open_photos(config, listings, threads, world)
    if not pixels_fit(config, model, listings, device):
        for folder_of_photos in folders:
            folder_of_photos.keep_in_main_memory()

    def new_card(train: PhotoDataset) -> ModelCard:
        return replace(make_card(config, train), **of_start)

    if photos.cache != "none":
        _note_skipped(folders, folder)
        if saved is None and world.is_main and photos.folds == 1:
            from catdog.data.duplicates import leak

            if warning := leak(*listings):
                folder.log(warning)
    if config.training.optimizer == "lbfgs":
        from catdog.trainer.closed_form import add_features

        if saved is not None:  # the other network need not be there any more
            model.load_state_dict(saved["model"])
        add_features(model, folders, new_card(folders[0]), device)
    new_trainer: Callable[..., Trainer] = Trainer
    if photos.folds > 1:
        from catdog.trainer.folds import cross_validate

        def new_model() -> "Network":
            return _first_weights(config, listings[0].classes, None, world)[0]

        folders, new_trainer = cross_validate(config, folders, run, device, new_model, new_card, folder.log)
    if world.is_main:
        from catdog.trainer.tensorboard import tensorboard_writer

        listeners = [*tensorboard_writer(run), _draw_curves, *listeners]
    trainer = new_trainer(config, model, *folders, new_card(folders[0]), run, device, folder.log, listeners, world)
    if saved is not None:
        from catdog.trainer.resume import restore

        restore(trainer, saved, folder)
    started = time.perf_counter()
    try:
        trainer.fit()
    except (RuntimeError, MemoryError, CatdogError) as error:
        from catdog.trainer.recovery import how_to_go_on

        raise how_to_go_on(error, trainer, folder) from None
    finally:
        if photos.cache == "none":  # whose photos are read as they are needed
            _note_skipped(folders, folder)
    if world.is_main:
        from catdog.runs.readme import write_readme

        write_readme(run, config)
    _summarize(trainer, time.perf_counter() - started)
    return run


def _list_photos(config: Config, saved: dict[str, Any] | None, world: World) -> tuple[Listing, Listing]:
    """The photos to train on and to validate on. CatdogError for classes other than the checkpoint's, or that no model
    file can hold."""
    from catdog.checkpoint.class_names import require_names

    with world.first_on_machine():  # who draws the drawn set, if it is wanted
        listings = train_and_val(photo_folder(config.photos), config.photos.val_share, config.run.seed)
    require_names(listings[0])
    if saved is not None:
        from catdog.trainer.resume import check_classes

        check_classes(saved, listings[0], Path(config.run.out))
    return listings


def _first_weights(
    config: Config, classes: Sequence[str], saved: dict[str, Any] | None, world: World
) -> tuple["Network", dict[str, Any], str]:
    """The network, what its card has from the one that it is started from, and a line on that."""
    torch.manual_seed(config.run.seed)
    with world.first_on_machine():  # who downloads weights, if any
        model = build_network(config, len(classes), pretrained=saved is None)
    if config.model.start_from == "none":
        return model, {}, ""
    from catdog.runs.start import start_network

    return model, *start_network(config, model, classes, saved, world)


def _open_photos(
    config: Config, listings: Sequence[Listing], threads: int, world: World
) -> tuple[PhotoDataset, PhotoDataset]:
    """The photos to train on and to validate on; where they are decoded before, by one process of each machine."""
    photos = config.photos
    if photos.cache == "none" and world.size > 1:  # each must find as many photos in a batch as the others expect
        photos = replace(photos, strict=True)
    with world.first_on_machine():  # who fills the cache, from which the others then read
        return open_folders(listings, photos, threads)


def _note_skipped(folders: Sequence[PhotoDataset], folder: RunFolder) -> None:
    """List the photos that could not be read in skipped.csv, and log how many."""
    train, val = (photos.skipped for photos in folders)
    skipped = [*train, *val]
    folder.write_skipped(skipped)
    if skipped:
        reasons = folder.path / "skipped.csv"
        of = f"{len(train):,} to train on, {len(val):,} to validate on"
        folder.log(f"skipped {many(len(skipped), 'photo')} that cannot be read ({of}); {reasons} says why.")


def _draw_curves(event: Event) -> None:
    """Draw curves.png at the end of a training, while its last checkpoint is being written."""
    if isinstance(event, TrainingDone):
        from catdog.drawing.curves import draw_curves  # matplotlib takes a while to import

        draw_curves(event.trainer.state.progress.history, event.trainer.run / "curves.png")


def _summarize(trainer: Trainer, seconds: float) -> None:
    """Log how good the network is and how it is used."""
    from catdog.trainer.fit_familiarity import LEAST

    progress, run = trainer.state.progress, trainer.run
    sure = "".join(f"{sentence}\n" for sentence in trainer.in_words())
    trial = "evaluate" if trainer.card.trained_on == DRAWINGS else "predict PHOTO"  # it has seen no photograph
    start = f" from the weights of {trainer.card.started_from}" * bool(trainer.card.started_from)
    needed = LEAST * (2 if trainer.config.photos.folds > 1 else 1)  # with folds, half of the photos count
    if (few := len(trainer.val)) < needed:
        trainer.log(f"no photo will be called unfamiliar: that takes {needed} validation photos, and there are {few}")
    trainer.log(
        f"trained in {seconds:.0f} s{start}; best after epoch {progress.best['epoch']}: "
        f"{percent(progress.best['val_accuracy'])} of {len(trainer.val):,} {trainer.validated_on}\n"
        f"{sure}the network is {run / MODEL_FILE}; try: catdog {trial} --run {in_shell(run)}"
    )
