"""Writes the conclusions of a demo, as paragraphs, from its outcomes."""

import math
from collections.abc import Sequence

import torch

from catdog.model.mlp import MLP
from catdog.tools.demo.outcome import Outcome, shuffle, shuffle_order, shuffle_weights
from catdog.trainer import augment
from catdog.trainer.loop import Trainer


def intervals_differ(a: Outcome, b: Outcome) -> bool | None:
    """Whether the two 95% intervals do not overlap; None where a single seed gives no interval."""
    if a.interval is None or b.interval is None:
        return None
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def compare(a: Outcome, b: Outcome) -> str:
    """Compare the accuracies of `a` and `b` in a sentence."""
    gap = b.accuracy - a.accuracy
    found = f"With {a.name} the network is right on {a.accuracy:.1%}, with {b.name} on {b.accuracy:.1%}"
    differ = intervals_differ(a, b)
    if differ is None:
        return f"{found}. One seed cannot tell whether that is more than luck; give --seeds 3 or more."
    if not differ:
        return f"{found}. The intervals overlap: these seeds do not tell the two apart."
    return (
        f"{found}. That is {abs(gap) * 100:.1f} points {'more' if gap > 0 else 'less'}, and the intervals do not "
        "overlap: it takes more than the luck of the first weights to explain."
    )


def describe_overfitting(outcomes: Sequence[Outcome]) -> list[str]:
    """Name the overfitted networks in a paragraph, if any: over 99% correct in training, 2 points less on others."""
    trained = [float(o.training[:, -1].mean()) for o in outcomes]
    names = [o.name for o, share in zip(outcomes, trained, strict=True) if share > 0.99 and o.accuracy < share - 0.02]
    if not names:
        return []
    return [
        f"With {' and with '.join(names)} the network is right on almost every photo that it was trained on, and on "
        "fewer of the others: it has learned much by heart, which is called overfitting. Only photos kept apart tell "
        "what it can do."
    ]


def conclude_permute(outcomes: Sequence[Outcome]) -> list[str]:
    """Conclusion on networks trained on the photos and on shuffled photos."""
    plain, shuffled = outcomes
    return [
        compare(plain, shuffled),
        "Nobody could tell a cat from a dog in the shuffled photos. But a neuron of the first layer has a weight of "
        "its own for every pixel and is never told which pixels lie side by side. Move those weights as the pixels "
        "were moved, and the network trained on the photos as they are scores the shuffled ones as it did the photos "
        f"themselves: on those kept apart, no score changes by more than {largest_score_change(plain.trainer):.0e}.",
        "So such a network cannot use that neighbouring pixels belong together, or that a cat is a cat wherever it "
        "sits. Convolution builds just that in, which is why people went on to it.",
    ]


@torch.no_grad()
def largest_score_change(trainer: Trainer) -> float:
    """Largest change of a score when pixels and first-layer weights are permuted alike: rounding error."""
    model = trainer.state.average.model.eval()
    assert isinstance(model, MLP)
    pixels = trainer.val.pixels
    order = shuffle_order(pixels)
    images, moved = (augment.normalise(p, trainer.mean, trainer.std) for p in (pixels, shuffle(pixels, order)))
    return float((shuffle_weights(model, order)(moved) - model(images)).abs().max())


def conclude_depth(outcomes: Sequence[Outcome]) -> list[str]:
    """Conclusion on networks without, with one and with three hidden layers."""
    none, one, three = outcomes
    return [
        compare(none, one),
        compare(one, three),
        "Without a hidden layer there is one weight for each pixel and class: a single template, laid over every "
        "photo. A hidden layer is many templates, of which the activation lets each speak on some photos and be silent "
        "on others. More layers can say more, which is not yet to be right more often.",
        *describe_overfitting(outcomes),
    ]


def conclude_activation(outcomes: Sequence[Outcome]) -> list[str]:
    """Conclusion on networks of three hidden layers with each activation."""
    relu, tanh, sigmoid = outcomes
    early = ", ".join(f"{o.held_out[:, 0].mean():.1%} with {o.name}" for o in outcomes)
    return [
        compare(relu, tanh),
        compare(relu, sigmoid),
        f"After the first epoch: {early}. On its way back through three hidden layers the gradient is multiplied by "
        "the activation's slope three times. The slope of relu is 1 wherever a neuron speaks; that of tanh is 1 only "
        "in the middle, and that of sigmoid never more than 1/4, so the first layers may hear little of the loss.",
        *describe_overfitting(outcomes),
    ]


def conclude_loss(outcomes: Sequence[Outcome]) -> list[str]:
    """Conclusion on networks trained with softmax and with the SVM loss."""
    softmax, svm = outcomes
    return [
        compare(softmax, svm),
        "Softmax turns the scores into probabilities, and its loss always has something left to lower. The SVM asks "
        "that the true class's score lead by 1 and is then content with a photo: after its training "
        f"{margin_share(svm.trainer):.1%} of the photos that it was trained on do, and no longer pull at any weight.",
        *describe_overfitting(outcomes),
    ]


def margin_share(trainer: Trainer) -> float:
    """Share of the training photos whose true class's score exceeds all others by at least the SVM's margin of 1."""
    found, logits = trainer.evaluate(trainer.train)
    labels, scores = torch.from_numpy(found)[:, None], torch.from_numpy(logits)
    others = scores.scatter(1, labels, -math.inf)
    return float((scores.gather(1, labels)[:, 0] - others.amax(1) >= 1).double().mean())
