"""Random changes to a whole batch of photos at once, on the device where the pixels are.

The random numbers are drawn on the CPU from a generator that depends on (seed, epoch, step) alone, so a resumed
run, or one spread over several processes, changes each photo in the same way. There are a few numbers for each
photo: what is done to its geometry is one 2 x 3 matrix, what is done to its colour, with the normalisation
folded in, one 3 x 3 matrix and an offset.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from catdog.config.settings import Augment

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue appear
_CHUNK = 64  # photos changed at a time on a CPU, so that what is between two operations stays in its cache


@dataclass
class Draw:
    """The random numbers of one batch of B photos: float32 tensors; each is what its field of `Augment` bounds."""

    geometry: Tensor | None  # B x 2 x 3: from places in the new picture to those in the old one, in [-1, 1]; no turns
    colours: Tensor | None  # 3 x B: brightness, contrast and saturation, factors around 1
    partner: Tensor  # B, int64: the photo that each is blended with
    share: float  # of the photo itself in that blend
    cast: Tensor | None = None  # B x 3: factors of red, green and blue, around 1
    blur: Tensor | None = None  # B: standard deviation, in pixels

    def part(self, rows: slice | Tensor) -> "Draw":
        """The numbers for some of the photos; `partner` stays that of the batch."""
        colours = None if self.colours is None else self.colours[:, rows]
        geometry, cast, blur = (None if one is None else one[rows] for one in (self.geometry, self.cast, self.blur))
        return replace(self, geometry=geometry, colours=colours, cast=cast, blur=blur)


def own_slice(pixels: Tensor, drawn: Draw, own: slice) -> tuple[Tensor, Draw]:
    """Of a batch that is blended, what `apply` needs for the photos `own`: they, then the partner of each."""
    partners = drawn.partner[own]
    rows = torch.cat([torch.arange(own.start, own.stop), partners])
    first_partner = len(partners)
    drawn = replace(drawn.part(rows), partner=torch.arange(first_partner, 2 * first_partner))
    return pixels[rows.to(pixels.device, non_blocking=True)], drawn


def draw(config: Augment, count: int, rng: np.random.Generator) -> Draw:
    """The random numbers for `count` photos; None where nothing is to be changed."""
    area = rng.uniform(config.crop_area, 1, count)
    stretch = np.exp(rng.uniform(-1, 1, count) * np.log(config.crop_ratio))
    width = np.minimum(np.sqrt(area * stretch), 1)
    height = np.minimum(np.sqrt(area / stretch), 1)
    mirrored = np.where(rng.random(count) < 0.5, -1, 1) if config.flip else 1
    geometry = np.zeros((count, 2, 3))
    geometry[:, 0, 0] = width * mirrored
    geometry[:, 1, 1] = height
    geometry[:, 0, 2] = rng.uniform(-1, 1, count) * (1 - width)
    geometry[:, 1, 2] = rng.uniform(-1, 1, count) * (1 - height)

    most = np.array([config.brightness, config.contrast, config.saturation])[:, None]
    colours = rng.uniform(1 - most, 1 + most, (3, count))
    share = float(rng.beta(config.mixup, config.mixup)) if config.mixup else 1.0
    partner = torch.from_numpy(rng.permutation(count))
    moves = config.flip or config.crop_area < 1 or config.crop_ratio > 1 or config.zoom_out > 1
    cast = rng.uniform(1 - config.cast, 1 + config.cast, (count, 3)) if config.cast else None
    blur = config.blur * rng.random(count) ** 3 if config.blur else None
    if config.zoom_out > 1:
        geometry *= 1 + (config.zoom_out - 1) * rng.random((count, 1, 1)) ** 3
    return Draw(
        _float32(geometry) if moves else None,
        _float32(colours) if most.any() or config.cast else None,
        partner,
        share,
        None if cast is None else _float32(cast),
        None if blur is None else _float32(blur),
    )


def _float32(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """B x 3 x H x W, uint8 or float32 -> float32: each channel less its mean, over its deviation (in levels)."""
    images = images.to(torch.float32, copy=True)
    return images.sub_(mean.view(1, 3, 1, 1)).div_(std.view(1, 3, 1, 1))


def apply(images: Tensor, drawn: Draw, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 B x 3 x H x W -> float32 B x 3 x H x W: cropped, mirrored, recoloured, normalised, blended.

    Where partners were drawn for the first photos alone, those are returned.
    mean, std: float32, 3, in levels (0 to 255). Colours are not clipped to 255: the network takes any number.
    """
    device = images.device
    if drawn.geometry is None and drawn.colours is None and drawn.blur is None:
        pixels = normalise(images, mean, std)
    elif device.type == "cpu":
        pixels = torch.empty(images.shape)
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            pixels[rows] = _change(images[rows], drawn.part(rows), mean, std)
    else:
        pixels = _change(images, drawn, mean, std)
    if drawn.share < 1:
        partners = pixels[drawn.partner.to(device, non_blocking=True)]
        pixels = torch.lerp(partners, pixels[: len(partners)], drawn.share)
    return pixels


def _change(images: Tensor, drawn: Draw, mean: Tensor, std: Tensor) -> Tensor:
    pixels = images.to(torch.float32)
    if drawn.geometry is not None:
        grid = _places(drawn.geometry.to(images.device, non_blocking=True), images.shape[2], images.shape[3])
        pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if drawn.blur is not None:
        pixels = _soften(pixels, drawn.blur.to(images.device, non_blocking=True))
    if drawn.colours is None:
        return normalise(pixels, mean, std)
    cast = None if drawn.cast is None else drawn.cast.to(images.device, non_blocking=True)
    return _recolour(pixels, drawn.colours.to(images.device, non_blocking=True), cast, mean, std)


def _soften(pixels: Tensor, deviation: Tensor) -> Tensor:
    """Blur each photo by a Gaussian: a matrix a photo for the columns, the same for the rows, each row of sum 1."""
    for dimension in (2, 3):
        place = torch.arange(pixels.shape[dimension], device=pixels.device, dtype=torch.float32)
        apart = (place[:, None] - place) / deviation.clamp(min=0.1).view(-1, 1, 1)
        weights = torch.exp(-0.5 * apart**2)
        weights = (weights / weights.sum(dim=2, keepdim=True))[:, None]
        pixels = weights @ pixels if dimension == 2 else pixels @ weights.transpose(2, 3)
    return pixels


def _places(geometry: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a new picture lies in the old one: B x H x W x 2 (x, y), as F.affine_grid gives it.

    A crop keeps rows and columns, so x depends on the column alone and y on the row alone, which is soon computed.
    """
    columns = (2 * torch.arange(width, device=geometry.device) + 1) / width - 1
    rows = (2 * torch.arange(height, device=geometry.device) + 1) / height - 1
    x = geometry[:, 0, 0, None] * columns + geometry[:, 0, 2, None]
    y = geometry[:, 1, 1, None] * rows + geometry[:, 1, 2, None]
    shape = (len(geometry), height, width)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)


def _recolour(pixels: Tensor, colours: Tensor, cast: Tensor | None, mean: Tensor, std: Tensor) -> Tensor:
    """The cast, if there is one, then brightness, then contrast around the photo's mean luma, then saturation around
    each pixel's luma, then normalise.

    All are linear in the colour, so they are one matrix a photo:
    A = brightness * contrast * (saturation * I + (1 - saturation) * [1 1 1]' luma) * cast, and an offset.
    """
    count, _, height, width = pixels.shape
    device = pixels.device
    luma = torch.tensor(LUMA).to(device, non_blocking=True)
    brightness, contrast, saturation = colours.view(3, count, 1, 1)
    to_grey = luma.expand(3, 3)
    matrix = brightness * contrast * (saturation * torch.eye(3, device=device) + (1 - saturation) * to_grey)
    mean_colour = pixels.mean(dim=(2, 3))
    if cast is not None:
        matrix, mean_colour = matrix * cast[:, None, :], mean_colour * cast
    mean_luma = mean_colour @ luma
    offset = (1 - contrast) * brightness * mean_luma.view(count, 1, 1)
    matrix = matrix / std.view(1, 3, 1)
    offset = (offset - mean.view(1, 3, 1)) / std.view(1, 3, 1)
    return torch.baddbmm(offset, matrix, pixels.view(count, 3, height * width)).view(count, 3, height, width)
