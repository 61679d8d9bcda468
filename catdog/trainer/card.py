"""The card of the network that a training makes: what the header of its model file says."""

import torch

from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Config
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.statistics import colour_statistics
from catdog.images.geometry import RESIZE_FILTER


def make_card(config: Config, train: PhotoDataset) -> ModelCard:
    """The card of the network that `config` makes of the photos `train`."""
    from catdog.data.drawn import are_drawn
    from catdog.runs.trained_on import describe_photos

    mean, std, mean_colours = colour_statistics(train)
    m = config.model
    if m.pretrained:
        from catdog.model.torchvision import pretrained_mean_std

        mean, std = pretrained_mean_std(m.model)
    return ModelCard(
        architecture=config.architecture,
        classes=tuple(train.classes),
        mean=mean,
        std=std,
        resize_filter=RESIZE_FILTER,
        average_mirrored=config.augment.flip,
        loss=config.training.loss,
        temperature=1.0,
        squared_hinge=config.training.squared_hinge,
        mean_colours=mean_colours,
        train_counts=tuple(torch.bincount(train.labels, minlength=len(train.classes)).tolist()),
        trained_on=describe_photos(config.photos.data, are_drawn(train.listing)),
        resize=config.photos.resize,
    )
