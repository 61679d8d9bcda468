"""What the figures of a demo answer, in sentences."""

import math
from collections.abc import Sequence

import torch

from catdog.data.dataset import PhotoSet
from catdog.model.mlp import MLP
from catdog.tools.demo.outcome import Outcome, shuffle, shuffle_order, shuffle_weights
from catdog.trainer import augment
from catdog.trainer.loop import Trainer


def told_apart(a: Outcome, b: Outcome) -> bool | None:
    """Whether the two intervals have nothing in common; None where a single seed gives no interval."""
    if a.interval is None or b.interval is None:
        return None
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def compare(a: Outcome, b: Outcome) -> str:
    """What the figures say of `b` beside `a`."""
    gap = b.accuracy - a.accuracy
    found = f"With {a.name} the network is right on {a.accuracy:.1%}, with {b.name} on {b.accuracy:.1%}"
    apart = told_apart(a, b)
    if apart is None:
        return f"{found}. One seed cannot tell whether that is more than luck; give --seeds 3 or more."
    if not apart:
        return f"{found}. The intervals overlap: these seeds do not tell the two apart."
    return (
        f"{found}. That is {abs(gap) * 100:.1f} points {'more' if gap > 0 else 'less'}, and the intervals do not "
        "overlap: it takes more than the luck of the first weights to explain."
    )


def by_heart(outcomes: Sequence[Outcome]) -> list[str]:
    """A word on networks that know the photos they were trained on, and the others less well."""
    trained = [float(o.trained[:, -1].mean()) for o in outcomes]
    names = [o.name for o, share in zip(outcomes, trained, strict=True) if share > 0.99 and o.accuracy < share - 0.02]
    if not names:
        return []
    return [
        f"With {' and with '.join(names)} the network is right on almost every photo that it was trained on, and on "
        "fewer of the others: it has learned much by heart. Only photos kept apart tell what it can do."
    ]


def _conclude_permute(outcomes: Sequence[Outcome]) -> list[str]:
    plain, shuffled = outcomes
    return [
        compare(plain, shuffled),
        "Nobody could tell a cat from a dog in the shuffled photos. But a neuron of the first layer has a weight of "
        "its own for every pixel and is never told which pixels lie side by side. Move those weights as the pixels "
        "were moved, and the network trained on the photos as they are scores the shuffled ones as it did the photos "
        f"themselves: on those kept apart, no score changes by more than {largest_change(plain.first):.0e}.",
        "So such a network cannot use that neighbouring pixels belong together, or that a cat is a cat wherever it "
        "sits. Convolution builds just that in, which is why people went on to it.",
    ]


@torch.no_grad()
def largest_change(trainer: Trainer) -> float:
    """By how much a score changes at most when the photos and the first layer's weights are shuffled alike."""
    model = trainer.average.model.eval()
    assert isinstance(model, MLP) and isinstance(trainer.val, PhotoSet)
    pixels = trainer.val.pixels
    order = shuffle_order(pixels)
    images, moved = (augment.normalise(p, trainer.mean, trainer.std) for p in (pixels, shuffle(pixels, order)))
    return float((shuffle_weights(model, order)(moved) - model(images)).abs().max())


def _conclude_depth(outcomes: Sequence[Outcome]) -> list[str]:
    none, one, three = outcomes
    return [
        compare(none, one),
        compare(one, three),
        "Without a hidden layer there is one weight for each pixel and class: a single template, laid over every "
        "photo. A hidden layer is many templates, of which the activation lets each speak on some photos and be silent "
        "on others. More layers can say more, which is not yet to be right more often.",
        *by_heart(outcomes),
    ]


def _conclude_activation(outcomes: Sequence[Outcome]) -> list[str]:
    relu, tanh, sigmoid = outcomes
    early = ", ".join(f"{o.apart[:, 0].mean():.1%} with {o.name}" for o in outcomes)
    return [
        compare(relu, tanh),
        compare(relu, sigmoid),
        f"After the first epoch: {early}. On its way back through three hidden layers the gradient is multiplied by "
        "the activation's slope three times. The slope of relu is 1 wherever a neuron speaks; that of tanh is 1 only "
        "in the middle, and that of sigmoid never more than 1/4, so the first layers may hear little of the loss.",
        *by_heart(outcomes),
    ]


def _conclude_loss(outcomes: Sequence[Outcome]) -> list[str]:
    softmax, svm = outcomes
    return [
        compare(softmax, svm),
        "Softmax turns the scores into probabilities, and its loss always has something left to lower. The SVM asks "
        "that the true class's score lead by 1 and is then content with a photo: after its training "
        f"{share_content(svm.first):.1%} of the photos that it was trained on do, and no longer pull at any weight.",
        *by_heart(outcomes),
    ]


def share_content(trainer: Trainer) -> float:
    """The share of the photos trained on in which the true class's score leads all others by the SVM's margin of 1."""
    found, logits = trainer.evaluate(trainer.train)
    labels, scores = torch.from_numpy(found)[:, None], torch.from_numpy(logits)
    others = scores.scatter(1, labels, -math.inf)
    return float((scores.gather(1, labels)[:, 0] - others.amax(1) >= 1).double().mean())
