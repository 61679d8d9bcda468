"""The whole of predict as one torch module, for torch.export: uint8 photos of any size -> probabilities, familiarity.

`catdog.predict.Classifier` states the same computation in NumPy, and tests compare both.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from catdog.architecture import Architecture, LayerShape, Resize
from catdog.familiarity import grids_of_differences, watched
from catdog.model.build import build_mlp
from catdog.model.local import LocalLinear
from catdog.model.torchvision import TorchvisionModel
from catdog.numpy_net import windows
from catdog.tools.export.exported import Exported


class Predict(nn.Module):
    """photos: uint8, N x H x W x 3 -> probabilities, N x classes; and familiarity, N, where the model file has it."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        card = self.card = exported.card
        shape = card.architecture
        self.network: Any = Mlp(exported) if shape.is_mlp else TorchvisionLogits(exported)
        self.height, self.width = shape.image_size
        self.see = Seen(*shape.image_size, card.resize)
        self.register_buffer("mean", torch.tensor(card.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(3, 1, 1))
        self.familiarity = Familiarity(exported) if card.familiarity else None

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        pixels = self.see(photos)
        images = (pixels - self.mean) / self.std
        logits, features = self.network(images)
        if self.card.average_mirrored:
            mirrored = self.network(images.flip(3))
            logits, features = (logits + mirrored[0]) / 2, (features + mirrored[1]) / 2
        probabilities = torch.softmax(logits / self.card.temperature, dim=1)
        if self.familiarity is None:
            return (probabilities,)
        return probabilities, self.familiarity(features if self.card.architecture.local else photo_statistics(pixels))


class Seen(nn.Module):
    """uint8, N x H x W x 3 -> float, N x 3 x height x width, whole levels: what `catdog.images.decode` makes of a JPEG.

    libjpeg reduces it by 8, 4 or 2 first, as long as the photo is then not smaller than asked: the mean of so many
    pixels each way (libjpeg's jidctred.c). The rest is Pillow's triangle filter, across and then down, both rounded to
    levels. Each of the two is one matrix, which crops or pads as well (`catdog.images.keep_shape`).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, resize: Resize) -> None:
        super().__init__()
        self.resize = resize
        self.register_buffer("rows", torch.arange(height))
        self.register_buffer("columns", torch.arange(width))

    def forward(self, photos: Tensor) -> Tensor:
        down, across = (torch.arange(photos.shape[axis], device=photos.device) for axis in (1, 2))
        height, width = ((places.max() + 1).double() for places in (down, across))
        ratios = torch.stack([height / len(self.rows), width / len(self.columns)])
        room = (ratios.max() if self.resize == "pad" else ratios.min()) * (torch.minimum(height, width) >= 8)
        divisor = 1 + (room >= 2).float() + 2 * (room >= 4).float() + 4 * (room >= 8).float()
        x = photos.permute(0, 3, 1, 2).float()
        x = levels(x @ self.matrix(across, self.columns, ratios, width, divisor).T)
        return levels(self.matrix(down, self.rows, ratios, height, divisor) @ x)

    def matrix(self, places: Tensor, pixels: Tensor, ratios: Tensor, full: Tensor, divisor: Tensor) -> Tensor:
        """How much each of the `places` of a side, `full` in number, counts in each of the `pixels` made of it."""
        wanted = len(pixels)
        start, there = torch.zeros_like(full), torch.full_like(full, wanted)
        if self.resize == "crop":
            start = (full - wanted * ratios.min()).clamp(min=0) / 2
        elif self.resize == "pad":
            there = (full / ratios.max()).round().clamp(min=1)
        scale = (full - 2 * start) / there
        above = ((wanted - there) / 2).floor()  # pixels that repeat the first of the photo's own
        within = torch.minimum((pixels - above).clamp(min=0), there - 1)
        centres, scale, count = ((within + 0.5) * scale + start).float(), scale.float() / divisor, full.float()
        distance = (places / divisor).floor() + 0.5 - (centres / divisor).unsqueeze(1)
        weight = torch.relu(1 - distance.abs() / scale.clamp(min=1))
        beyond = (count / divisor).ceil() * divisor - count  # which libjpeg sets to the last place
        weight = weight * (1 + beyond * (places == count - 1).float())
        return weight / weight.sum(dim=1, keepdim=True)


def levels(x: Tensor) -> Tensor:
    """Rounded as Pillow does."""
    return (x + 0.5).floor()


class Mlp(nn.Module):
    """images: float, N x 3 x H x W, normalised -> logits, N x classes, and the features of familiarity, N x D."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        shape: Architecture = exported.card.architecture
        model = build_mlp(shape, len(exported.card.classes))
        load_arrays(model, exported)
        *shapes, self.last = shape.layers(len(exported.card.classes))
        self.watched = watched(shape) if shape.local else {}
        self.shapes, self.hidden, self.classifier = shapes, model.hidden, model.classifier
        for layer, its in zip(self.hidden, shapes, strict=True):
            if its.below is not None and not its.shared:
                layer.linear = PlaceByPlace(layer.linear, its)  # type: ignore

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = x = images.flatten(start_dim=1)
        branches: list[Tensor] = []
        features = [x[:, :0]]
        for layer, shape in zip(self.hidden, self.shapes, strict=True):
            branches += [x] * shape.branches
            x = torch.cat([x, *branches], dim=1) if shape.pooled else x
            before, x = x, layer(x, before)
            if shape.name in self.watched:
                means = x.unflatten(1, (-1, self.watched[shape.name])).mean(dim=1)
                features.append(means / ((means**2).sum(dim=1, keepdim=True).sqrt() + 1e-9))
        x = torch.cat([x, *branches], dim=1) if self.last.pooled else x
        return self.classifier(x), torch.cat(features, dim=1)


class PlaceByPlace(nn.Module):
    """A local layer whose places have weights of their own, of operations that all runtimes have."""

    seen: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, linear: LocalLinear, shape: LayerShape) -> None:
        super().__init__()
        inputs = np.arange(1.0, shape.inputs + 1)[None]
        self.register_buffer("seen", torch.from_numpy(windows(inputs, shape)[0]).long())  # places x window; 0: outside
        by_place = linear.weight.detach().unflatten(0, (-1, shape.channels))
        self.register_buffer("weight", by_place.transpose(1, 2).contiguous())  # places x window x channels
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.cat([torch.zeros_like(x[:, :1]), x], dim=1)
        seen = padded.index_select(1, self.seen.flatten()).unflatten(1, self.seen.shape)  # N x places x window
        return torch.matmul(seen.transpose(0, 1), self.weight).transpose(0, 1).flatten(start_dim=1) + self.bias


class TorchvisionLogits(nn.Module):
    """images: float, N x 3 x H x W, normalised -> logits, N x classes, and no features."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        shape = exported.card.architecture
        self.model = TorchvisionModel(shape.model, shape.image_size, len(exported.card.classes))
        load_arrays(self.model, exported)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(images)
        return logits, logits[:, :0]


class Familiarity(nn.Module):
    """features: N x D -> the share of familiar photos, held out from training, that are farther off: N."""

    mean: Tensor
    factor: Tensor
    directions: Tensor
    distances: Tensor

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        for name in ("mean", "factor", "directions", "distances"):
            self.register_buffer(name, torch.from_numpy(exported.tensors[f"familiarity.{name}"].copy()))

    def forward(self, features: Tensor) -> Tensor:
        z = (features - self.mean) * self.factor
        distance = (z**2).sum(dim=1, keepdim=True) - ((z @ self.directions.T) ** 2).sum(dim=1, keepdim=True)
        low, high = self.distances[:-1], self.distances[1:]
        passed = ((distance - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)  # of each step between two quantiles
        return 1 - passed.mean(dim=1)


def photo_statistics(pixels: Tensor) -> Tensor:
    """`catdog.familiarity.photo_statistics` of N x 3 x H x W."""
    red, green, blue = (pixels / 255).unbind(dim=1)
    x = torch.stack([(red + green + blue) / 3, red - green, blue - green], dim=1)
    mean = x.mean(dim=(2, 3), keepdim=True)
    deviation = ((x - mean) ** 2).mean(dim=(2, 3)).sqrt()
    found = [mean.flatten(start_dim=1), (deviation + 0.02).log()]
    grids = grids_of_differences(*pixels.shape[2:])
    while min(height := x.shape[2], width := x.shape[3]) >= 2:
        if (height, width) in grids:
            for step in (x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]):
                found.append((step.abs().mean(dim=(2, 3)) + 0.02).log())
        x = x[:, :, : height // 2 * 2, : width // 2 * 2].unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
    return torch.cat(found, dim=1)


def load_arrays(model: nn.Module, exported: Exported) -> None:
    own = model.state_dict()
    arrays = {name: torch.from_numpy(array.copy()) for name, array in exported.tensors.items() if name in own}
    model.load_state_dict({**own, **arrays})
    model.eval()


def program_of(exported: Exported) -> Any:
    """The torch.export program; N, H and W are free."""
    height, width = exported.card.architecture.image_size
    free = torch.export.Dim.DYNAMIC
    photos = torch.zeros(3, 2 * height + 5, 2 * width + 7, 3, dtype=torch.uint8)
    with torch.no_grad():
        module = Predict(exported).eval().requires_grad_(False)
        return torch.export.export(module, (photos,), dynamic_shapes={"photos": {0: free, 1: free, 2: free}})
