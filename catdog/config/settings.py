"""Defines the configuration as dataclasses with their defaults, which a TOML file and then flags override.

Every field below is a key of the TOML file (in the section of its class) and a flag of `catdog train`
(`learning_rate` is `--learning-rate`), so names are unique across sections. The text under a field is
its documentation everywhere: in `--help`, in configs/default.toml and in the config.toml of a run.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from catdog.architecture import Activation, Architecture, Resize


def _within(low: float, high: float, default: Any) -> Any:
    """Make a dataclass field of a number, or of a tuple of numbers, each from `low` to `high`."""
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class Photos:
    """Which photographs, and how they become pixels."""

    data: str = "data"
    """Folder of photos: DIR/<class>/*, or DIR/train/<class>/* with DIR/val/<class>/*; or what `catdog data pack` made
    of one, or its address: s3://bucket/packed."""
    image_size: tuple[int, int] = _within(1, 10_000, default=(24, 24))
    """Height and width, in pixels, that every photo is resized to. The network has 3 * height * width inputs;
    more pixels show more detail, cost more time and are learned by heart sooner."""
    resize: Resize = "squash"
    """How a photo of another shape comes to that size. squash: height and width each on its own, so that all is seen,
    though out of shape. crop: keeps its shape, and what is beyond the middle is not seen. pad: keeps its shape and all
    of it, with its edges drawn out to fill the rest. Prediction does the same."""
    val_share: float = _within(0.01, 0.9, default=0.2)
    """Share of the photos kept for validation where there is no val/ folder. Which ones depends on the seed and on
    each file's own name only, so adding photos does not move the others."""
    folds: int = _within(0, 100, default=0)
    """Cross-validation in so many parts: each photo is answered by a network that has not seen it, and then one network
    learns from all photos. 1: none, the share above is kept apart instead. 0: 5 where there are fewer than 1,000 photos
    and no val/ folder (and they are not drawn), else none."""
    max_skipped: float = _within(0, 1, default=0.1)
    """Share of unreadable photos above which training does not start: then something is wrong with the folder."""
    strict: bool = False
    """Stop at the first unreadable photo instead of skipping it."""
    cache: str = "auto"
    """Where decoded pixels are kept between runs: a folder, "auto" (the user's cache folder) or "none". With none,
    training starts at once, without a look for copies, and decodes each photo again in each epoch; no more than a
    batch is in memory."""
    cache_limit: float = _within(0, 1e9, default=20.0)
    """Largest size of the cache, in gigabytes: above it, what was used longest ago is removed. See `catdog cache`."""


@dataclass(frozen=True)
class Model:
    """The multilayer perceptron: flatten, then hidden layers f(x, W) = Wx + b with an activation, then a classifier."""

    model: str = "mlp"
    """mlp, or the name of any classifier of torchvision, such as resnet18: then the other fields of this section but
    pretrained and start_from have no meaning."""
    pretrained: bool = False
    """Begin with torchvision's own weights for that network, which are downloaded once (not for mlp)."""
    start_from: str = "auto"
    """Begin with the weights of another network: a run, a model file, cats-dogs, which comes with catdog, or none.
    What fits is copied, of the classifier the rows of classes of the same name. Picture size and the fields of this
    section are that network's unless they are given. auto: cats-dogs where there are fewer than 1,000 photos of cats
    and of dogs, and no other field of this section is given."""
    hidden: tuple[int, ...] = _within(1, 1_000_000, default=(1024, 1024, 1024))
    """Width of each hidden layer; an empty list leaves the linear classifier alone."""
    local: tuple[int, ...] = _within(1, 100_000, default=())
    """Local receptive fields: so many units at each place of each local layer, which come before the hidden ones. A
    unit sees only a window of the layer below, and each layer has half its height and width."""
    field: int = _within(2, 100, default=4)
    """Height and width of those windows, in places of the layer below."""
    shared: bool = False
    """All places of a local layer have the same weights, for ever (a convolution); they are stored once."""
    blocks: tuple[int, ...] = _within(0, 100, default=())
    """So many residual blocks after each of the local layers: two layers of windows of 3 x 3 places, of the same
    height, width and units, whose output is added to their input. An empty list makes none."""
    pool: bool = False
    """The layer after the local ones sees the mean of each channel over all places, not each place."""
    pool_all: bool = False
    """It sees such means of the layers at all heights and widths, one after the other, not of the last alone: small
    things, such as colours and textures, beside large ones."""
    activation: Activation = "gelu"
    """The non-linearity after each hidden Wx + b. relu is the simplest; gelu is its smooth
    kin and does a little better."""
    batch_norm: bool = True
    """Normalise each unit over the batch before its activation: tolerates higher learning rates."""
    dropout: float = _within(0, 0.99, default=0.0)
    """Probability of silencing a hidden unit during training: against learning by heart (overfitting)."""


@dataclass(frozen=True)
class Augment:
    """Random changes to the training photos, new in every epoch, that leave a cat a cat."""

    flip: bool = True
    """Mirror left and right half of the time; also average the scores of a photo and its mirror image at prediction."""
    crop_area: float = _within(0.01, 1, default=0.5)
    """Smallest share of the photo's area that a random crop keeps (1 keeps the whole photo)."""
    crop_ratio: float = _within(1, 10, default=1.25)
    """Largest stretch of width against height of a random crop (1 keeps the proportions)."""
    brightness: float = _within(0, 1, default=0.2)
    """Largest change of brightness, as a share."""
    contrast: float = _within(0, 1, default=0.2)
    """Largest change of contrast, as a share."""
    saturation: float = _within(0, 1, default=0.2)
    """Largest change of colourfulness, as a share."""
    cast: float = _within(0, 1, default=0.0)
    """Largest change of red, green and blue apart, as a share: the cast of another light or camera."""
    blur: float = _within(0, 100, default=0.0)
    """Largest blur, the standard deviation of a Gaussian, in pixels; most photos get little of it."""
    zoom_out: float = _within(1, 10, default=1.0)
    """Largest factor by which a photo is made smaller before it is cropped, its edge drawn out around it; most photos
    get little of it."""
    mixup: float = _within(0, 100, default=0.0)
    """Alpha of the Beta distribution by which pairs of photos are blended (0 is off)."""


@dataclass(frozen=True)
class Training:
    """The loss, and how the weights move against its gradient."""

    epochs: int = _within(1, 1_000_000, default=40)
    """How many times the network sees every training photo."""
    train_layers: int = _within(0, 1000, default=0)
    """How many of the last layers are trained, 1 being the classifier alone (0: all). The others stay as they are, with
    their batch normalisation, and take no backward pass."""
    keep_statistics: bool = False
    """Batch normalisation keeps the means and variances of the network that is started from: those of few photos are
    noisy."""
    batch_size: int = _within(0, 10_000_000, default=0)
    """Photos in one step. Larger is quicker per photo, up to a point; smaller takes more steps. 0: 256 for 2,048
    training photos or more; for fewer, the power of two from 8 on that makes 8 to 16 steps of an epoch."""
    accumulate: int = _within(1, 10_000_000, default=1)
    """Split each batch into parts and add up their gradients: the same step (batch norm: nearly) in less memory."""
    loss: Literal["softmax", "svm"] = "softmax"
    """softmax: cross-entropy of the probabilities. svm: multi-class hinge loss with margin 1."""
    squared_hinge: bool = False
    """Square each hinge of the svm loss: large mistakes weigh more."""
    label_smoothing: float = _within(0, 0.99, default=0.1)
    """Share of the target spread evenly over the classes (softmax only): some labels are wrong, no photo is certain."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: weigh each photo by the inverse of its class's frequency, for classes of unequal size."""
    optimizer: Literal["adamw", "sgd", "muon", "lbfgs"] = "adamw"
    """adamw adapts the rate of each weight. sgd with momentum, weight_decay and clip_norm 0 is plain gradient descent,
    w' = w - lr * dE/dw. muon makes all directions of a step equally long, for matrices between hidden layers; all else
    is moved by adamw. lbfgs is for the classifier alone, on layers that stay as they are (train_layers 1): it finds its
    best weights in one epoch, from what those layers make of each photo and its mirror image."""
    share_epochs: int = _within(0, 1_000_000, default=0)
    """For so many epochs all places of a local layer have the same weights (a convolution); then each goes on with its
    own."""
    learning_rate: float = _within(1e-12, 1e3, default=7e-4)
    """lr: how far a step moves against the gradient; the highest rate reached, after warm-up. The default is for
    batches of 256; of a smaller batch that is chosen (batch_size 0), it goes with the root of the batch."""
    momentum: float = _within(0, 0.9999, default=0.9)
    """How much of the last step is kept in the next one (sgd only)."""
    weight_decay: float = _within(0, 1e3, default=0.5)
    """Pull of every weight matrix towards zero (biases are left alone); for adamw, decoupled from the gradient."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """How the learning rate goes on after warm-up: down to 0 along a cosine, constant, or down in steps."""
    warmup_epochs: float = _within(0, 1_000_000, default=1.0)
    """Epochs over which the learning rate rises from 0: the first gradients point nowhere in particular."""
    step_epochs: int = _within(1, 1_000_000, default=10)
    """For the step schedule: epochs between two cuts of the rate."""
    step_factor: float = _within(0, 1, default=0.1)
    """For the step schedule: what the rate is multiplied by at each cut."""
    ema: float = _within(0, 0.999999, default=0.99)
    """Decay of the running average of the weights that is evaluated and saved (0 is off): steadier than the
    last step."""
    clip_norm: float = _within(0, 1e9, default=1.0)
    """Largest norm of the gradient over all weights; a longer one is shortened to it (0 is off)."""
    early_stopping: int = _within(0, 1_000_000, default=0)
    """Stop after so many epochs without a better validation accuracy (0 is off)."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """When the loss is no longer a number, or a million times that of guessing: stop; or roll back, that is, go on from
    the start of the epoch with half the learning rate, at most 8 times."""


@dataclass(frozen=True)
class Run:
    """Where and on what the training runs."""

    out: str = ""
    """Folder of the run; empty: runs/<date>-<time>."""
    device: str = "auto"
    """auto (cuda, else mps, else cpu), cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the forward pass multiplies matrices in; auto: bfloat16 on a GPU that has it, else float16 on a GPU, else
    float32. Weights are float32 always."""
    compile: bool = False
    """Let torch.compile make the network's own kernels: a longer start, then shorter steps on some GPUs."""
    threads: int = _within(0, 4096, default=0)
    """CPU threads (0: what OMP_NUM_THREADS says, else as many as this process may use of the CPUs)."""
    seed: int = _within(0, 2**32 - 1, default=0)
    """Where all randomness starts: the same seed gives the same network on the same machine."""
    checkpoint_minutes: float = _within(0, 1e6, default=5.0)
    """A checkpoint is written at the end of each epoch, and within an epoch after so many minutes."""


@dataclass(frozen=True)
class Config:
    """The whole configuration: all sections. `Config()` is the default."""

    photos: Photos = field(default_factory=Photos)
    model: Model = field(default_factory=Model)
    augment: Augment = field(default_factory=Augment)
    training: Training = field(default_factory=Training)
    run: Run = field(default_factory=Run)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Names of the fields that a file or a flag has set; the others have their defaults."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of the network that sections [photos] and [model] define."""
        of_model = asdict(self.model)
        del of_model["pretrained"], of_model["start_from"]  # which are where the weights come from
        return Architecture(self.photos.image_size, **of_model)
