"""`catdog explain`: explains photos, or what the network has learned; prints the text and writes pictures and pages."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catdog.base.atomic import write_atomic, write_text
from catdog.base.progress import working
from catdog.base.text import listed
from catdog.config.toml import load_config
from catdog.data.inputs import photos_of
from catdog.drawing.page import Section, how_to_open, is_page, page
from catdog.errors import CatdogError, ImageError
from catdog.predict import Classifier
from catdog.runs import histograms
from catdog.runs.introduction import figures_in_words, introduction
from catdog.runs.locate import find_model, output_folder
from catdog.tools.explain import weights_history
from catdog.tools.explain.backprop import Network
from catdog.tools.explain.explanation import Explanation, explain
from catdog.tools.explain.summary import summary
from catdog.tools.explain.words import as_text, sections

NETWORK_PAGE = "network.html"


def main(
    photos: Sequence[str], run: str | None, label: str | None, out: str | None, rate: float | None, full: bool
) -> int:
    """Run `catdog explain`; returns the exit status, 1 if a photo could not be read.

    full: check the gradients, print every section, and draw every panel.
    """
    if rate is not None and not (np.isfinite(rate) and rate > 0):
        raise CatdogError(f"--lr must be a positive number, not {rate:g}.")
    model = find_model(run, drawings=not photos)
    classifier = Classifier.load(model)
    if label is not None and label not in classifier.classes:
        raise CatdogError(f"--label {label} is not a class of this model; it knows {listed(classifier.classes)}.")
    about = figures_in_words(model, classifier.card)
    print(introduction(model, classifier.card), file=sys.stderr)
    folder = _make_folder(Path(out) if out else output_folder(model) / "explain")
    if not photos:
        with working("drawing"):
            files = _write_learned(classifier, folder, model.parent, about)
        _print_written(files)
        return 0
    done: list[Explanation] = []
    stems: list[str] = []
    training_rate = _training_rate(model)
    failed = False
    for name, source in photos_of(photos):
        try:
            if isinstance(source, ImageError):
                raise source
            if name != "-" and Path(name).resolve().parent == folder.resolve():
                raise CatdogError(
                    f"--out {folder} holds the photo {name}, beside which nothing is written; give another."
                )
            e = explain(classifier, source, name, label, rate, checks=full, training_rate=training_rate)
        except ImageError as error:
            print(f"catdog: {error}", file=sys.stderr)
            failed = True
            continue
        print((f"{e.answer}  {e.title}\n\n{as_text(e)}" if full else summary(e)) + "\n", flush=True)
        stems.append(_unused_name(e, folder, stems))
        with working("drawing"):
            files = _write(e, folder / stems[-1], full, about)
        _print_written(files)
        done.append(e)
    if len(done) > 1:
        from catdog.tools.explain import graph
        from catdog.tools.explain.learned_picture import draw_activations

        _keep_the_users(folder / "activations.png")
        with working("drawing"):
            files = graph.save(draw_activations(done[:20]), folder / "activations")
        _print_written(files)
    return 1 if failed else 0


def textbook(out: str | None) -> int:
    """Run `catdog explain --textbook`; returns the exit status."""
    from catdog.tools.explain.textbook import as_text

    print(as_text(), flush=True)
    from catdog.tools.explain.textbook_picture import save_pictures

    folder = _make_folder(Path(out or "explain"))
    with working("drawing"):
        files = save_pictures(folder)
    _print_written(files)
    return 0


def _training_rate(model: Path) -> float | None:
    """The learning rate in the config.toml beside a model; None where there is none that can be read."""
    try:
        return load_config(model.with_name("config.toml")).training.learning_rate
    except CatdogError:
        return None


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatdogError(f"cannot make the folder {folder}: {error.strerror}; give another --out.") from None
    return folder


def _print_written(files: Sequence[Path]) -> None:
    print("wrote " + ", ".join(map(str, files)), file=sys.stderr)
    if files[-1].suffix == ".html":
        print(how_to_open(files[-1]), file=sys.stderr, flush=True)


def _unused_name(e: Explanation, folder: Path, used: Sequence[str]) -> str:
    """File name of the photo without its suffix, numbered where that is used, or a file of the user's own has it."""
    stem = Path(e.title).stem if e.name != "-" else "photo"
    names = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
    return next(
        name
        for name in names
        if name not in used and not any(_is_the_users(folder / f"{name}{suffix}") for suffix in (".png", ".html"))
    )


def _is_the_users(file: Path) -> bool:
    """Whether there is a file in the place of a page or a PNG that catdog did not write: such a PNG has an SVG, or
    network.html, beside it."""
    if file.suffix == ".html":
        return file.exists() and not is_page(file)
    return file.exists() and not (file.with_suffix(".svg").exists() or is_page(file.with_name(NETWORK_PAGE)))


def _keep_the_users(file: Path) -> None:
    if _is_the_users(file):
        raise CatdogError(f"{file} is there, and catdog did not write it; give another --out.")


def _write(e: Explanation, stem: Path, full: bool, about: str) -> list[Path]:
    """Write STEM.html, and with `full` all panels on one picture too, STEM.png and STEM.svg; return their paths."""
    from catdog.tools.explain import graph  # matplotlib takes a while to import
    from catdog.tools.explain.picture import QUICK, cut_out, poster

    figure, panels = poster(e) if full else poster(e, QUICK)
    image = graph.render(figure)
    images = cut_out(image, panels)
    files = graph.save_both(graph.png(image), graph.svg(figure), stem) if full else []
    if not full:
        about += " The same command with --full checks each gradient and draws the backward pass and the step too."
    html = page(f"{e.title}: {e.answer}", about, sections(e), images, numbered=True)
    files.append(stem.with_name(stem.name + ".html"))
    write_text(files[-1], html)
    return files


def _write_learned(classifier: Classifier, folder: Path, run: Path, head: str) -> list[Path]:
    """Write network.html and its pictures, weights, class templates and histograms; return their paths."""
    from catdog.tools.explain import graph
    from catdog.tools.explain.fields_picture import draw_fields
    from catdog.tools.explain.learned_picture import draw_histories, draw_neurons, draw_templates

    network, shape = Network.of(classifier), classifier.card.architecture
    found = []
    if shape.local:
        about = (
            "How much of the photo a unit of each local layer sees, and what the first layer's units look for there."
        )
        picture = draw_fields(shape, {"trained": network.layers[0].weight})
        found.append((Section("fields", "Local receptive fields", about, []), picture))
    elif len(network.layers) > 1:
        about = "One picture a neuron: what it looks for. The most important come first: long weights, and much effect "
        about += "on the scores."
        found.append((Section("neurons", "First-layer neurons", about, []), draw_neurons(classifier, network)))
    about = "The gradient of a class's score less that of the others by each pixel, at the average photo."
    found.append((Section("templates", "Class templates", about, []), draw_templates(classifier, network)))
    if (run / histograms.WEIGHTS_FILE).is_file():
        about = "How wide the weights and their gradients were spread after each epoch; darker is denser."
        picture = draw_histories(weights_history.read(run / histograms.WEIGHTS_FILE))
        found.append((Section("histories", "Weights and gradients through training", about, []), picture))
    files, images = [], {}
    _keep_the_users(folder / NETWORK_PAGE)
    for section, figure in found:
        images[section.key] = graph.png(graph.render(figure))
        files.append(folder / f"{section.key}.png")
        _keep_the_users(files[-1])
        data = images[section.key]
        write_atomic(files[-1], lambda file, data=data: file.write(data))  # type: ignore[misc]
    html = page("What the network has learned", head, [s for s, _ in found], images, numbered=False)
    files.append(folder / NETWORK_PAGE)
    write_text(files[-1], html)
    return files
