"""All parts of the benchmark, in the order in which they are measured."""

from benchmarks.contender import Part
from benchmarks.parts import beside, constants, exactness, gpu, growth, roofline, serving, training, using
from benchmarks.photos import Sizes


def all_parts(sizes: Sizes) -> dict[str, Part]:
    """The parts by name, for so much to measure."""
    parts = [
        using.start(),
        using.predict(),
        serving.serving(),
        training.first_epoch(),
        training.later_epochs(),
        training.whole_run(sizes.epochs),
        training.time_to_accuracy(),
        beside.beside(sizes.epochs),
        growth.memory(),
        growth.listing(sizes),
        growth.scaling(sizes),
        exactness.pixels(sizes.epochs),
        roofline.roofline(),
        constants.constants(),
        gpu.gpu(),
    ]
    return {part.name: part for part in parts}
