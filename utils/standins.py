"""Stand-ins for MNIST and SVHN, drawn without network or data, and their record."""

import functools
from dataclasses import dataclass
from pathlib import Path

from utils.arguments import choice, integer, rng

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

SPLITS = ("train", "test", "extra")
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "cmss10")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels of one data set; a split that was not asked for is None.

    Attributes
    ----------
    name, source, remark : str
        "mnist" or "svhn"; "local", "download" or "standin"; what the images are.
    train_images, test_images, extra_images : ndarray of uint8 or None
        Shape (N, 28, 28) for MNIST, (N, 32, 32, 3) for SVHN.
    train_labels, test_labels, extra_labels : ndarray of int64 or None
        Shape (N,), the digits 0 to 9.
    """

    name: str
    source: str
    remark: str
    train_images: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    test_images: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    extra_images: np.ndarray | None = None
    extra_labels: np.ndarray | None = None

    @property
    def description(self):
        """Sentence to read: name, source, numbers of images, and what they are."""
        title = self.notice or f"{self.name.upper()}, {self.source}"
        labels = {split: getattr(self, f"{split}_labels") for split in SPLITS}
        counts = [f"{len(y):,} {split}" for split, y in labels.items() if y is not None]
        images = " and ".join(counts).replace("train", "training") + " images"
        return f"{title}: {images}, {self.remark}."

    @property
    def notice(self):
        """Line for the title of every figure of stand-ins; "" for real data."""
        return f"STAND-IN DATA, not {self.name.upper()}" * (self.source == "standin")

    def __repr__(self):
        return f"<Dataset {self.name}, source={self.source!r}: {self.description}>"


def make_standin(name, sizes, seed=0):
    """Draw a stand-in for MNIST or SVHN, whose labels are true.

    MNIST-like digits come from scikit-learn's 8x8 scans of real handwriting, of which
    none serves both training and test; house numbers come from matplotlib's fonts.

    Parameters
    ----------
    name : {"mnist", "svhn"}
        What to stand in for.
    sizes : dict
        Maps "train", "test" or "extra" to a number of images, at least 1.
    seed : int, SeedSequence, Generator, RandomState or None
        The same integer gives the same images, whatever the sizes of other splits.
        Of anything else one is drawn, and named in the remark.

    Returns
    -------
    Dataset
        uint8 images (n, 28, 28) or (n, 32, 32, 3) and int64 labels (n,).

    Raises
    ------
    ValueError
        A name is unknown, a number is too small or no integer, or the seed none.

    Examples
    --------
    >>> make_standin("svhn", {"train": 3, "test": 2}).train_images.shape
    (3, 32, 32, 3)
    """
    drawings = {"mnist": _draw_digits, "svhn": _draw_numbers}
    name = choice("name", name, tuple(drawings))
    if not isinstance(sizes, dict) or not sizes or set(sizes) - set(SPLITS):
        raise ValueError(
            f"sizes is {sizes!r}, but must map names out of {SPLITS} to numbers of "
            "images."
        )
    draw = drawings[name]
    sizes = {split: integer(f"sizes[{split!r}]", n) for split, n in sizes.items()}
    try:
        seed = integer("seed", seed, least=0)
    except ValueError:
        seed = int(rng("seed", seed).integers(2**32))
    arrays = {}
    for split, size in sizes.items():
        source = np.random.default_rng([seed, SPLITS.index(split)])
        parts = [draw(source, min(500, size - i), split) for i in range(0, size, 500)]
        images, labels = map(np.concatenate, zip(*parts, strict=True))
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    origin = {"mnist": "warped scans of real handwriting", "svhn": "drawn with fonts"}
    return Dataset(name, "standin", f"{origin[name]} (seed {seed})", **arrays)


def _draw_digits(rng, n, split):
    scans, labels = _scans()
    held_out = len(scans) * 4 // 5  # scans from here on make the test images
    span = (held_out, len(scans)) if split == "test" else (0, held_out)
    index = rng.integers(*span, n)
    ink = _warper(rng, np.full(n, 20 / 32), 28)(scans, index)
    # Threshold and slope give MNIST's grey levels: few, and only along the edges.
    ink = (ink - rng.normal(0.74, 0.05, (n, 1, 1))) / 0.8 + 0.5
    return np.uint8(255 * ink.clip(0, 1)), labels[index]


@functools.cache
def _scans():
    """Enlarged scans, (1797, 48, 48), and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = np.pad(np.float32(digits.images / 16), ((0, 0), (2, 2), (2, 2)))
    unit = np.eye(12, dtype="float32")
    enlarge = zoom(unit, (4, 1), order=3, grid_mode=True, mode="grid-constant")
    scans = enlarge @ scans @ enlarge.T
    # Lifting each pixel above its surroundings keeps faint strokes unbroken.
    scans += scans - gaussian_filter(scans, (0, 4, 4))
    return scans, digits.target.astype(np.int64)


def _draw_numbers(rng, n, split):
    digit, font = rng.integers(10, size=(3, n)), rng.integers(len(FONTS), size=n)
    warp = _warper(rng, rng.uniform(0.45, 0.72, n), 32)
    cover = warp(_glyphs(), digit[0] * len(FONTS) + font)
    for side in (-1, 1):  # neighbours, which the edges cut off
        away = np.where(rng.random(n) < 0.6, side * rng.uniform(30, 40, n), 99)
        cover += warp(_glyphs(), digit[side] * len(FONTS) + font, away)
    ground = rng.uniform(0.15, 0.85, (n, 1, 1, 1))
    paint = ground + np.where(ground < 0.5, 1, -1) * rng.uniform(0.2, 0.6, ground.shape)
    ground, paint = (rng.normal(light, 0.07, (n, 1, 1, 3)) for light in (ground, paint))
    image = ground + cover.clip(0, 1)[..., None] * (paint - ground)
    image = np.float32(image + 0.06 * _smooth(rng, (n,), 32, knots=9)[..., None])
    blurred = gaussian_filter(image, (0, 1.5, 1.5, 0))
    image += rng.random((n, 1, 1, 1), np.float32) * (blurred - image)
    image += 0.02 * rng.standard_normal(image.shape, np.float32)
    return np.uint8(255 * image.clip(0, 1)), digit[0]


@functools.cache
def _glyphs():
    """Every digit in every font, about 40 of 52 pixels high, in order of digits."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    faces = [ImageFont.truetype(str(folder / f"{font}.ttf"), 55) for font in FONTS]
    canvases = [Image.new("L", (52, 52)) for _ in range(10 * len(faces))]
    for i, canvas in enumerate(canvases):
        digit, face = str(i // len(faces)), faces[i % len(faces)]
        ImageDraw.Draw(canvas).text((26, 26), digit, 255, face, anchor="mm")
    return np.stack(canvases) / np.float32(255)


def _warper(rng, scale, size):
    """Random affine and elastic changes, one per image, for use on any stack."""
    n, grid = len(scale), np.mgrid[:size, :size] - (size - 1) / 2
    matrix = (np.eye(2)[..., None] + rng.normal(0, 0.1, (2, 2, n))) / scale
    field = np.einsum("ijn,jhw->inhw", matrix, grid) + _smooth(rng, (2, n), size) / 2

    def warp(stack, index, away=0):
        """Warp `stack[index]`, looking `away` pixels to the right of its middle."""
        y, x = field + (stack.shape[1] - 1) / 2
        x += np.reshape(away, (-1, 1, 1))
        which = np.broadcast_to(index[:, None, None], y.shape)
        return map_coordinates(stack, [which, y, x], order=1)

    return warp


def _smooth(rng, shape, size, knots=5):
    """Smooth random fields, (*shape, size, size), from a coarse grid of normals."""
    basis = zoom(np.eye(knots), (size / knots, 1), order=3)
    return basis @ rng.standard_normal((*shape, knots, knots)) @ basis.T
