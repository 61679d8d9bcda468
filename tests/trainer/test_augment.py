from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from catdog.config.settings import Augment
from catdog.config.toml import load_config
from catdog.trainer import augment

NONE = Augment(flip=False, crop_area=1, crop_ratio=1, brightness=0, contrast=0, saturation=0, mixup=0)
MEAN, STD = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 61.0, 62.0])
IMAGES = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(config: Augment, seed: int = 0) -> augment.Draw:
    return augment.draw(config, len(IMAGES), np.random.default_rng(seed))


def test_with_everything_off_only_the_normalisation_is_left() -> None:
    expected = (IMAGES.numpy().astype(np.float64) - MEAN.numpy()[:, None, None]) / STD.numpy()[:, None, None]
    found = augment.apply(IMAGES, drawn(NONE), MEAN, STD)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(augment.normalise(IMAGES, MEAN, STD).numpy(), expected, atol=1e-5)


def test_flip_mirrors_left_and_right_half_of_the_time() -> None:
    plain = augment.normalise(IMAGES, MEAN, STD)
    found = augment.apply(IMAGES, drawn(replace(NONE, flip=True), seed=1), MEAN, STD)
    same = [torch.equal(a, b) for a, b in zip(found, plain, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(found, plain, strict=True)]
    assert all(s != m for s, m in zip(same, mirrored, strict=True))
    assert any(same)
    assert any(mirrored)


def test_a_crop_is_torchvisions_resized_crop() -> None:
    """A crop of 4 x 5 of 8 x 10 pixels, made twice as large: bilinear, without antialiasing, as it is enlarged."""
    draw = drawn(NONE)
    top, left = 2, 3
    draw.geometry = torch.tensor([[0.5, 0, (left + 2.5 - 5) / 5], [0, 0.5, (top + 2 - 4) / 4]]).repeat(
        len(IMAGES), 1, 1
    )
    found = augment.apply(IMAGES, draw, torch.zeros(3), torch.ones(3))
    wide = torch.nn.functional.interpolate(IMAGES.float(), scale_factor=2, mode="bilinear", align_corners=False)
    # Pixels whose neighbours lie outside the crop see them, where a crop made first would repeat its edge.
    expected = wide[:, :, 2 * top : 2 * top + 8, 2 * left : 2 * left + 10]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_crops_stay_inside_the_photo_and_keep_the_asked_share() -> None:
    draw = augment.draw(Augment(crop_area=0.3, crop_ratio=2.0), 10_000, np.random.default_rng(0))
    assert draw.geometry is not None
    width, height = draw.geometry[:, 0, 0].abs(), draw.geometry[:, 1, 1]
    assert (draw.geometry[:, 0, 2].abs() + width <= 1 + 1e-6).all()
    assert (draw.geometry[:, 1, 2].abs() + height <= 1 + 1e-6).all()
    assert 0.2 < (width * height).min() < 0.32
    assert (width / height).max() <= 2 + 1e-5
    assert (width / height).min() >= 0.5 - 1e-5


@pytest.mark.parametrize("size", [(12, 10), (64, 64), (1, 5)])
def test_a_large_batch_is_changed_as_torch_s_own_sampling_of_each_photo_does(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photo by photo with affine_grid and grid_sample, where `apply` sums rows of many; to 0.002 levels."""
    monkeypatch.setattr(augment, "_CHUNK", 7 * 3 * size[0] * size[1])
    images = torch.randint(0, 256, (25, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    draw = augment.draw(replace(NONE, flip=True, crop_area=0.3, crop_ratio=1.5), len(images), np.random.default_rng(0))
    assert draw.geometry is not None
    found = augment.apply(images, draw, torch.zeros(3), torch.ones(3))
    for image, geometry, changed in zip(images.float(), draw.geometry, found, strict=True):
        grid = torch.nn.functional.affine_grid(geometry[None], [1, 3, *size], align_corners=False)
        sampled = torch.nn.functional.grid_sample(image[None], grid, padding_mode="border", align_corners=False)
        torch.testing.assert_close(changed, sampled[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize("what", ["brightness", "contrast", "saturation"])
def test_colour_changes_are_torchvisions(what: str) -> None:
    pixels = IMAGES.float() / 255 * 0.5 + 0.2  # far enough from the ends that torchvision clips nothing
    as_levels = pixels * 255
    draw = drawn(load_config(None, {**asdict(NONE), what: 0.3}).augment, seed=5)
    adjust = {
        "brightness": tv.adjust_brightness,
        "contrast": tv.adjust_contrast,
        "saturation": tv.adjust_saturation,
    }[what]
    assert draw.geometry is None and draw.colours is not None
    factors = draw.colours[["brightness", "contrast", "saturation"].index(what)].tolist()
    assert len(set(factors)) == len(factors)
    expected = torch.stack([adjust(p, f) for p, f in zip(pixels, factors, strict=True)]) * 255
    found = augment.apply(as_levels, draw, torch.zeros(3), torch.ones(3))
    # torchvision's grey has weights rounded to four figures, ours to three.
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


def test_a_cast_changes_red_green_and_blue_apart() -> None:
    draw = drawn(replace(NONE, cast=0.3))
    assert draw.cast is not None
    assert ((draw.cast - 1).abs() <= 0.3).all()
    assert (draw.cast.std(dim=1) > 0.01).all()
    found = augment.apply(IMAGES, draw, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(found, IMAGES * draw.cast[:, :, None, None], atol=1e-3, rtol=0)


def test_a_cast_comes_before_the_other_changes_of_colour() -> None:
    draw = drawn(replace(NONE, cast=0.3, contrast=0.5, saturation=0.5, brightness=0.5))
    assert draw.cast is not None
    cast_first = replace(draw, cast=None, colours=draw.colours)
    photos = IMAGES * draw.cast[:, :, None, None]
    expected = torch.cat(
        [augment.apply(photos[i : i + 1], cast_first.part(slice(i, i + 1)), MEAN, STD) for i in range(6)]
    )
    torch.testing.assert_close(augment.apply(IMAGES, draw, MEAN, STD), expected, atol=1e-4, rtol=0)


def test_a_blur_is_torchvisions_away_from_the_edge() -> None:
    photos = torch.randint(0, 256, (6, 3, 30, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    draw = drawn(replace(NONE, blur=2.0))
    assert draw.blur is not None
    assert (draw.blur <= 2).all()
    draw.blur[:] = torch.tensor([0.0, 0.5, 0.8, 1.0, 1.2, 1.5])
    found = augment.apply(photos, draw, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(found[0], photos[0].float(), atol=1e-3, rtol=0)
    for i in range(1, 6):
        blurred = tv.gaussian_blur(photos[i].float(), [15, 15], [float(draw.blur[i])])
        torch.testing.assert_close(found[i, :, 8:-8, 8:-8], blurred[:, 8:-8, 8:-8], atol=0.05, rtol=0)


def test_a_photo_zoomed_out_of_lies_within_its_drawn_out_edge() -> None:
    draw = drawn(replace(NONE, zoom_out=3.0))
    assert draw.geometry is not None
    assert ((draw.geometry[:, 0, 0] >= 1) & (draw.geometry[:, 0, 0] <= 3)).all()
    draw.geometry = torch.tensor([[2.0, 0, 0], [0, 2.0, 0]]).repeat(len(IMAGES), 1, 1)
    found = augment.apply(IMAGES, draw, torch.zeros(3), torch.ones(3))
    halved = torch.nn.functional.avg_pool2d(
        IMAGES[:, :, :, 1:9].float(), 2
    )  # each new pixel lies between four old ones
    torch.testing.assert_close(found[:, :, 2:6, 3:7], halved, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, :, 0, 0], IMAGES[:, :, 0, 0].float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, :, -1, -1], IMAGES[:, :, -1, -1].float(), atol=1e-3, rtol=0)


def test_mixup_blends_each_photo_with_its_partner() -> None:
    draw = drawn(replace(NONE, mixup=1.0), seed=2)
    plain = augment.normalise(IMAGES, MEAN, STD)
    expected = draw.share * plain + (1 - draw.share) * plain[draw.partner]
    assert 0 < draw.share < 1
    torch.testing.assert_close(augment.apply(IMAGES, draw, MEAN, STD), expected, atol=1e-4, rtol=0)


def test_the_same_generator_draws_the_same() -> None:
    first, again, other = (augment.apply(IMAGES, drawn(Augment(mixup=0.4), seed), MEAN, STD) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
