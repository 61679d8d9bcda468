"""Checks the initial loss, that a few photos can be overfitted, and that shuffled labels cannot be learned."""

import math

import numpy as np
import torch

from catdog.base.text import in_shell, many, percent
from catdog.data.photo_dataset import PhotoDataset
from catdog.tools.doctor.patient import Finding, Patient, answers, or_batch_norm, steps

FEW = 16  # photos to overfit
_MOST_STEPS = 300
_SHUFFLED_STEPS = 30
_SHUFFLES = 3


@torch.no_grad()
def check_initial_loss(patient: Patient) -> Finding:
    """Check that the loss of the untrained network is near that of guessing.

    That is ln(C) for softmax, and the margin, 1, times C - 1 for the hinge loss (Stanford's CS231n, "Learning",
    sanity checks). Scores that differ at random make it somewhat higher. The loss examined is the mean over the labels
    and all their shifts, by 1 to C - 1: whatever class the initial weights favour, it cannot be less than that of
    guessing, since both losses are convex in the scores (Jensen's inequality).
    """
    name = "initial loss"
    model = patient.model().train()
    images, labels = patient.photos(512)
    logits = model(images)
    criterion, guess = patient.criterion(), patient.guess
    losses = [float(criterion(logits, (labels + shift) % patient.classes)) for shift in range(patient.classes)]
    loss = sum(losses) / len(losses)
    spread = float(logits.std(dim=0, correction=0).max())
    formula = f"ln {patient.classes}" if patient.config.training.loss == "softmax" else f"{patient.classes} - 1"
    what = (
        f"the untrained network's loss is {loss:.3g}, whatever the labels, and guessing costs {formula} = {guess:.3g}"
    )
    if not math.isfinite(loss):
        return Finding(name, "ill", f"{what}.", "Look at how the first weights are drawn, and at the photos' scaling.")
    if losses[0] < 0.1 * guess:
        return Finding(
            name,
            "ill",
            f"the untrained network's loss is {losses[0]:.3g}, and guessing costs {formula} = {guess:.3g}: it cannot "
            "know anything yet.",
            "Either the loss is scaled wrongly, or the labels, or weights trained with them, reach the network.",
        )
    if loss > 5 * guess:
        return Finding(
            name,
            "ill",
            f"{what}: it is sure, and wrong, before it has seen anything.",
            "The first weights are too large: draw them with a variance of 2 / inputs (relu, gelu)"
            f"{or_batch_norm(model)}.",
        )
    if loss < 0.8 * guess:
        return Finding(
            name,
            "ill",
            f"{what}: no network can stay below that, whatever the label.",
            "The loss is scaled wrongly: look whether it is the mean over the photos.",
        )
    if loss > 2.2 * guess:
        return Finding(
            name,
            "warning",
            f"{what}; that is {loss / guess:.1f} times as much.",
            "The first weights are rather large; the first steps are spent on undoing that.",
        )
    if spread < 1e-3:
        return Finding(
            name,
            "warning",
            f"{what}; but its scores differ between photos by {spread:.1g} only: all photos look the same to it.",
            "The first weights are too small, or the layers too many for this activation: try relu or gelu"
            f"{or_batch_norm(model)}.",
        )
    return Finding(name, "ok", f"{what}.")


def check_overfits(patient: Patient) -> Finding:
    """Check that a new network can overfit FEW photos, which takes a working model, loss and optimizer."""
    name = "by heart"
    few = _first_of_each_class(patient.train, FEW)
    plain = patient.with_training(weight_decay=0.0, label_smoothing=0.0)
    losses: list[float] = []
    correct = 0
    for step in steps(plain, plain.model(dropout=False), few, _MOST_STEPS, as_they_are=True):
        losses.append(step.loss)
        correct = step.right
        if correct == len(few) and step.loss < 0.3 * patient.guess:
            return Finding(
                name,
                "ok",
                f"{len(few)} photos are learned by heart after {many(len(losses) - 1, 'step')}: the loss fell from "
                f"{losses[0]:.3g} to {step.loss:.2g}.",
            )
    what = (
        f"after {many(len(losses), 'step')} on the same {len(few)} photos {correct} are right, and the loss went from "
        f"{losses[0]:.3g} to {losses[-1]:.3g}"
    )
    rate = patient.config.training.learning_rate
    if not math.isfinite(losses[-1]) or losses[-1] > max(1.2 * losses[0], 2 * patient.guess):
        return Finding(name, "ill", f"{what}.", f"The learning rate is too high: try --learning-rate {rate / 10:g}.")
    different = len(torch.unique(few.pixels.flatten(1), dim=0))
    if different < len(few):
        return Finding(
            name,
            "ill",
            f"{what}; only {different} of the photos differ from each other.",
            f"Look at the photos with `catdog data check {in_shell(patient.config.photos.data)}`.",
        )
    if len(losses) < _MOST_STEPS:
        return Finding(name, "warning", f"{what}; then the time was up.", "Try a smaller --image-size or --hidden.")
    if losses[-1] < 0.7 * losses[0]:
        return Finding(
            name,
            "warning",
            f"{what}: it learns, but slowly.",
            f"Try a higher learning rate, --learning-rate {rate * 3:g}; the rate sweep below says more.",
        )
    return Finding(
        name,
        "ill",
        f"{what}.",
        f"It does not learn: try --learning-rate {rate * 10:g}; if that does not help, look at the gradient check "
        "and at the units.",
    )


def _first_of_each_class(photos: PhotoDataset, count: int) -> PhotoDataset:
    """Select `count` photos (or all), taking one of each class in turn."""
    rank = torch.zeros_like(photos.labels)
    for label in range(len(photos.classes)):
        mine = photos.labels == label
        rank[mine] = torch.arange(int(mine.sum()))
    chosen = rank.argsort(stable=True)[:count]
    return PhotoDataset.from_tensors(photos.pixels[chosen], photos.labels[chosen], photos.classes)


def check_shuffled_labels(patient: Patient) -> Finding:
    """Check that a network trained on shuffled labels is no more accurate than chance on validation photos.

    A randomisation test (Zhang 2017, section 2.1, trains on random labels): if the predictions are still correct, the
    true labels leak to the network in another way. Of several shufflings the lowest accuracy counts, since a network
    that has learned nothing can be correct by luck.
    """
    name = "shuffled labels"
    labels = patient.val.labels
    outcomes = []
    for turn in range(_SHUFFLES):
        model = patient.model()
        for _ in steps(patient, model, shuffle_labels(patient.train, turn, patient.config.run.seed), _SHUFFLED_STEPS):
            pass
        called = answers(patient, model, patient.val)
        # Accuracy of random answers with the same frequencies of the classes.
        shares = [torch.bincount(of, minlength=patient.classes).double() / len(of) for of in (called, labels)]
        chance = float((shares[0] * shares[1]).sum())
        accuracy = float((called == labels).double().mean())
        noise = math.sqrt(chance * (1 - chance) / len(labels))
        outcomes.append((accuracy - chance - 3 * noise, accuracy, chance))
    above, accuracy, chance = min(outcomes)
    what = (
        f"after training on shuffled labels {percent(accuracy)} of {len(labels)} validation photos are called right, "
        f"and chance is {percent(chance)} (the least of {_SHUFFLES} times)"
    )
    if above > 0 and accuracy > chance + 0.05:
        return Finding(
            name,
            "ill",
            f"{what}: it knows labels that it was not taught.",
            "There is a leak: look for where the true labels, or weights trained with them, reach the network.",
        )
    return Finding(name, "ok", f"{what}: nothing leaks.")


def shuffle_labels(photos: PhotoDataset, turn: int, seed: int) -> PhotoDataset:
    """Replace the labels by ones independent of the class: the photos of each class get every label equally often.

    Turns 0 and 1, 2 and 3, ... differ by a shift of all labels, so that a pattern that favours the true classes by luck
    in one works against them in the other. The few photos that do not divide evenly are left out.
    """
    rng = np.random.default_rng([seed, turn // 2])
    classes = len(photos.classes)
    rows, labels = [], []
    for label in range(classes):
        mine = rng.permutation((photos.labels == label).nonzero().flatten().numpy())
        mine = mine[: max(1, len(mine) // classes) * classes]
        rows.append(mine)
        labels.append((np.arange(len(mine)) + turn) % classes)
    chosen = torch.from_numpy(np.concatenate(rows))
    return PhotoDataset.from_tensors(photos.pixels[chosen], torch.from_numpy(np.concatenate(labels)), photos.classes)
