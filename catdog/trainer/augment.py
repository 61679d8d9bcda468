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
_CHUNK = 2**20  # values changed at a time on a CPU, so that what is between two operations stays in its cache


@dataclass
class Draw:
    """The random numbers of one batch of B photos: float32 tensors; each is what its field of `Augment` bounds."""

    geometry: Tensor | None  # B x 2 x 3: from places in the new picture to those in the old one, in [-1, 1]; no turns
    mirrored: Tensor | None  # B, bool: where nothing but that is done to the geometry
    colours: Tensor | None  # 3 x B: brightness, contrast and saturation, factors around 1
    partner: Tensor  # B, int64: the photo that each is blended with
    share: float  # of the photo itself in that blend
    cast: Tensor | None = None  # B x 3: factors of red, green and blue, around 1
    blur: Tensor | None = None  # B: standard deviation, in pixels

    def part(self, rows: slice | Tensor) -> "Draw":
        """The numbers for some of the photos; `partner` stays that of the batch."""
        colours = None if self.colours is None else self.colours[:, rows]
        of_each = (self.geometry, self.mirrored, self.cast, self.blur)
        geometry, mirrored, cast, blur = (None if one is None else one[rows] for one in of_each)
        return replace(self, geometry=geometry, mirrored=mirrored, colours=colours, cast=cast, blur=blur)


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
    crops = config.crop_area < 1 or config.crop_ratio > 1 or config.zoom_out > 1
    cast = rng.uniform(1 - config.cast, 1 + config.cast, (count, 3))
    blur = config.blur * rng.random(count) ** 3
    geometry *= 1 + (config.zoom_out - 1) * rng.random((count, 1, 1)) ** 3
    return Draw(
        _float32(geometry) if crops else None,
        torch.from_numpy(geometry[:, 0, 0] < 0) if config.flip and not crops else None,
        _float32(colours) if most.any() or config.cast else None,
        partner,
        share,
        _float32(cast) if config.cast else None,
        _float32(blur) if config.blur else None,
    )


def _float32(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def normalise(images: Tensor, mean: Tensor, std: Tensor, out: Tensor | None = None) -> Tensor:
    """B x 3 x H x W, uint8 or float32 -> float32: each channel less its mean, over its deviation (in levels)."""
    images = images.to(torch.float32, copy=True) if out is None else out.copy_(images)
    return images.sub_(mean.view(1, 3, 1, 1)).div_(std.view(1, 3, 1, 1))


def apply(images: Tensor, drawn: Draw, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 B x 3 x H x W -> float32 B x 3 x H x W: cropped, mirrored, blurred, recoloured, normalised, blended.

    Where partners were drawn for the first photos alone, those are returned.
    mean, std: float32, 3, in levels (0 to 255). Colours are not clipped to 255: the network takes any number.
    """
    device, (count, channels, height, width) = images.device, images.shape
    if drawn.mirrored is not None:
        mirrored = drawn.mirrored.to(device, non_blocking=True)
        images = torch.where(mirrored.view(count, 1, 1, 1), images.flip(3), images)
    chunk = max(1, _CHUNK // (channels * height * width)) if device.type == "cpu" else count
    of_each = (drawn.geometry, drawn.colours, drawn.cast, drawn.blur)
    geometry, colours, cast, blur = (None if one is None else one.to(device, non_blocking=True) for one in of_each)
    recolour = None if colours is None else _Recolour(colours, cast, mean, std)
    pixels = torch.empty(images.shape, device=device)
    for start in range(0, count, chunk):
        rows = slice(start, start + chunk)
        found = images[rows] if geometry is None else _crop(images[rows], geometry[rows])
        if blur is not None:
            found = _soften(found.to(torch.float32), blur[rows])
        if recolour is None:
            normalise(found, mean, std, out=pixels[rows])
        else:
            recolour(found.to(torch.float32), rows, out=pixels[rows])
    if drawn.share < 1:
        partners = pixels[drawn.partner.to(device, non_blocking=True)]
        pixels = torch.lerp(partners, pixels[: len(partners)], drawn.share)
    return pixels


def _crop(images: Tensor, geometry: Tensor) -> Tensor:
    """Bilinear samples of B x 3 x H x W at the places that `geometry` (B x 2 x 3) means -> float32.

    A crop keeps rows and columns: x depends on the column alone, and y on the row. F.affine_grid, which allows for
    more, would take longer than the sampling.
    """
    count, _, height, width = images.shape

    def places(axis: int, size: int) -> Tensor:
        centres = (2 * torch.arange(size, device=geometry.device) + 1) / size - 1
        return geometry[:, axis, axis, None] * centres + geometry[:, axis, 2, None]

    x, y = places(0, width)[:, None, :], places(1, height)[:, :, None]
    grid = torch.stack([one.expand(count, height, width) for one in (x, y)], dim=3)
    return F.grid_sample(images.to(torch.float32), grid, padding_mode="border", align_corners=False)


def _soften(pixels: Tensor, deviation: Tensor) -> Tensor:
    """Blur each photo by a Gaussian: a matrix a photo for the columns, the same for the rows, each row of sum 1."""
    for dimension in (2, 3):
        place = torch.arange(pixels.shape[dimension], device=pixels.device, dtype=torch.float32)
        apart = (place[:, None] - place) / deviation.clamp(min=0.1).view(-1, 1, 1)
        weights = torch.exp(-0.5 * apart**2)
        weights = (weights / weights.sum(dim=2, keepdim=True))[:, None]
        pixels = weights @ pixels if dimension == 2 else pixels @ weights.transpose(2, 3)
    return pixels


class _Recolour:
    """A colour cast, then brightness, then contrast around the photo's mean luma, then saturation around each pixel's
    luma, then normalise.

    All are linear in the colour, so they are one matrix a photo:
    A = brightness * contrast * (saturation * I + (1 - saturation) * [1 1 1]' luma) * cast, and an offset.
    """

    def __init__(self, colours: Tensor, cast: Tensor | None, mean: Tensor, std: Tensor) -> None:
        device = colours.device
        self.luma = torch.tensor(LUMA).to(device, non_blocking=True)
        brightness, contrast, saturation = colours.unsqueeze(2).unsqueeze(3)  # B x 1 x 1 each
        to_grey = self.luma.expand(3, 3)
        matrix = brightness * contrast * (saturation * torch.eye(3, device=device) + (1 - saturation) * to_grey)
        self.cast = torch.ones(len(colours[0]), 3, device=device) if cast is None else cast
        self.matrix = matrix / std.view(1, 3, 1) * self.cast[:, None, :]
        self.offset = -(mean / std).view(1, 3, 1)
        self.of_mean_luma = (1 - contrast) * brightness / std.view(1, 3, 1)  # B x 3 x 1

    def __call__(self, pixels: Tensor, photos: slice, out: Tensor) -> None:
        """pixels: float32, B x 3 x H x W, the `photos` of the batch."""
        mean_luma = (pixels.mean(dim=(2, 3)) * self.cast[photos]) @ self.luma
        offset = torch.addcmul(self.offset, self.of_mean_luma[photos], mean_luma.view(-1, 1, 1))
        shape = (len(pixels), 3, -1)
        torch.baddbmm(offset, self.matrix[photos], pixels.view(shape), out=out.view(shape))
