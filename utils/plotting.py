"""One style for all lessons, and the pictures that several of them draw.

The pictures take arrays and an optional ``ax``, and return the axes.
"""

import gc
import io
import itertools
from collections.abc import Mapping

from utils.arguments import covariance_root, integer, plain_array, real_array

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import MaxNLocator
from PIL import Image

# Okabe and Ito (2008): told apart by the colour-blind; ordered here so that
# neighbours also differ in lightness, and with line styles for grey print.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
# Tol (2021), "muted" and black: as many as there are digits.
CLASS_COLORS = (
    *("#332288", "#DDCC77", "#CC6677", "#117733", "#88CCEE"),
    *("#882255", "#44AA99", "#999933", "#AA4499", "#000000"),
)

_notice = ""


def use_style(notice=""):
    """Set matplotlib up for a lesson.

    Parameters
    ----------
    notice : str
        A line that heads every figure drawn from here on, such as
        ``dataset.notice``: which pictures do not show the real data.

    Raises
    ------
    ValueError
        If `notice` is no text.
    """
    global _notice
    if not isinstance(notice, str):
        raise ValueError(f"notice is {notice!r}, but must be a text.")
    _notice = notice
    cycle = plt.cycler(color=COLORS) + plt.cycler(linestyle=LINES)
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycle,
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 12,
            "figure.constrained_layout.use": True,
            "figure.dpi": 90,
            "figure.figsize": (7, 4),
            "font.size": 12,
            "grid.alpha": 0.3,
            "image.cmap": "gray",
            "legend.frameon": False,
            "lines.linewidth": 2,
        }
    )


def set_title(ax, title=""):
    """Give axes a title, under the notice that `use_style` was told, if any.

    Raises
    ------
    ValueError
        If `ax` is something else, or `title` no text.
    """
    if not isinstance(ax, Axes):
        raise ValueError(f"ax is {ax!r}, but must be one of matplotlib's axes.")
    if not isinstance(title, str):
        raise ValueError(f"title is {title!r}, but must be a text.")
    ax.set_title("\n".join(part for part in (_notice, title) if part))
    return ax


def image_grid(images, num_columns=10, *, title="", row_labels=(), ax=None):
    """Images side by side, row after row.

    Parameters
    ----------
    images : array, shape (N, height, width) or (N, height, width, 1 or 3)
        Bytes 0 to 255, or floats in [0, 1]; colours are shown in 24 levels each.
    num_columns : int
        Images in a row.
    title : str
    row_labels : sequence of str
        What each row shows, to be written on its left.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If `images` has another shape, no image, or values that are neither bytes nor
        in [0, 1]; if `num_columns` is no positive integer, or `row_labels` is not one
        a row; if `ax` is something else. So say the other pictures of their arguments.
    """
    num_columns = integer("num_columns", num_columns)
    images = _as_images(images)
    rows = -(-len(images) // num_columns)
    row_labels = plain_array("row_labels", row_labels)
    if row_labels.shape not in ((0,), (rows,)):
        raise ValueError(
            f"row_labels is {row_labels}, but must have one label for each of {rows} "
            "rows, or none."
        )
    missing = rows * num_columns - len(images)
    blank = np.ones((missing, *images.shape[1:]), images.dtype)
    # A white line between neighbours keeps light images apart.
    padding = [(0, 0), (0, 1), (0, 1)] + [(0, 0)] * (images.ndim - 3)
    tiles = np.pad(np.concatenate([images, blank]), padding, constant_values=1)
    tiles = tiles.reshape(rows, num_columns, *tiles.shape[1:])
    canvas = np.concatenate(np.concatenate(tiles, axis=1), axis=1)[:-1, :-1]
    if canvas.ndim == 3:
        # 24 levels of each colour: half the size of a file, and hardly to be seen.
        canvas = np.round(23 * canvas) / 23
    width = min(7.0, 0.7 * num_columns)
    ax = _axes(ax, (width, width * rows / num_columns + 0.6))
    ax.imshow(canvas, vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    for row, label in enumerate(row_labels):
        middle = (row + 0.5) * tiles.shape[2]
        ax.text(-2, middle, label, ha="right", va="center", fontsize=10)
    return set_title(ax, title)


def latent_scatter(z, labels, *, title="", ax=None):
    """Points of a two-dimensional latent space, coloured and marked by class.

    Parameters
    ----------
    z : array, shape (N, 2)
    labels : array of int or str, shape (N,)
    title : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If `z` is not a list of pairs, finite and at least one, or `labels` are not
        one for each, integers or texts.
    """
    z, labels = real_array("z", z), plain_array("labels", labels)
    if z.ndim != 2 or z.shape[1] != 2 or labels.shape != z.shape[:1] or not z.size:
        raise ValueError(
            "z must have shape (N, 2) and labels shape (N,), N 1 or more, but they "
            f"have {z.shape} and {labels.shape}: choose two latent variables."
        )
    if all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)  # in data frames, they are objects
    if labels.dtype.kind not in "biuU":
        raise ValueError(f"labels are {labels.dtype}, but must be integers or texts.")
    ax = _axes(ax, (7, 6))
    classes = np.unique(labels)
    colors = CLASS_COLORS
    if len(classes) > len(colors):
        colors = plt.get_cmap("viridis")(np.linspace(0, 0.95, len(classes)))
    for index, name in enumerate(classes):
        marker = MARKERS[index % len(MARKERS)]
        points = z[labels == name].T
        ax.scatter(*points, s=12, alpha=0.6, color=colors[index], marker=marker)
    centers = [_densest(z[labels == name]) for name in classes]
    for name, color, place in zip(
        classes, colors, _apart(centers, np.ptp(z, axis=0).max() / 14), strict=False
    ):
        ax.annotate(
            str(name),
            place,
            weight="bold",
            size=13,
            ha="center",
            va="center",
            bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": color, "lw": 2},
        )
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    return set_title(ax, title)


def _densest(points, most=500):
    """The point that has a fifth of the others (of at most `most`) nearest to it."""
    points = points[:: -(-len(points) // most)]
    lengths = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = np.sort(lengths, axis=1)[:, : 1 + len(points) // 5]
    return points[nearest.mean(axis=1).argmin()]


def _apart(places, distance, rounds=100):
    """Places, pushed until each pair is about `distance` apart."""
    places = np.array(places, float)
    for _ in range(rounds):
        steps = places[:, None] - places
        lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
        short = np.clip(distance - lengths, 0, None) * (lengths > 0)
        places += (0.15 * short * steps / np.where(lengths, lengths, 1)).sum(axis=1)
    return places


def latent_manifold(images, z1, z2, *, title="", ax=None):
    """Decoded images at the points of a grid in a two-dimensional latent space.

    Parameters
    ----------
    images : array, shape (len(z2) * len(z1), height, width)
        Decoded from the grid, `z1` running fastest, `z2` upwards.
    z1, z2 : array, shape (columns,) and (rows,)
        Coordinates of the grid, ascending.
    title : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there are not ``len(z1) * len(z2)`` images, `z1` or `z2` is not a list of
        numbers in ascending order, or as in `image_grid`.
    """
    images = _as_images(images)
    z1, z2 = real_array("z1", z1, ("columns",)), real_array("z2", z2, ("rows",))
    for name, values in (("z1", z1), ("z2", z2)):
        if not values.size or np.any(np.diff(values) <= 0):
            raise ValueError(f"{name} is {values}, but must be numbers that ascend.")
    if len(images) != len(z1) * len(z2):
        raise ValueError(
            f"images holds {len(images)}, but a grid of {len(z2)} rows and "
            f"{len(z1)} columns needs {len(z1) * len(z2)}."
        )
    tiles = images.reshape(len(z2), len(z1), *images.shape[1:])[::-1]
    canvas = np.concatenate(np.concatenate(tiles, axis=1), axis=1)
    ax = _axes(ax, (7, 7))
    ax.imshow(canvas, vmin=0, vmax=1, extent=(0, len(z1), 0, len(z2)))
    ax.grid(visible=False)
    for axis, values in ((ax.xaxis, z1), (ax.yaxis, z2)):
        shown = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
        # As many digits as tell neighbours apart, in any unit.
        step = np.diff(values[shown]).min(initial=1)
        digits = max(1, int(np.ceil(-np.log10(step))))
        axis.set_ticks(shown + 0.5, [f"{value:.{digits}f}" for value in values[shown]])
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    return set_title(ax, title)


def training_curves(history, *, ylabel="nats per image", title="", ax=None):
    """What a model reported after each epoch.

    Parameters
    ----------
    history : dict of str to sequence of float, or what ``model.fit`` returned
        ``val_loss`` is drawn in the colour of ``loss``, dashed. Where a value is NaN,
        as when training breaks down, the curve has a gap.
    ylabel, title : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If `history` is no such dict, is empty, or holds something else than numbers.
    """
    history = _as_curves("history", getattr(history, "history", history), "epochs")
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    names.sort(key=lambda name: name != "loss")  # the loss first
    ax = _axes(ax)
    for name, color in zip(names, itertools.cycle(COLORS), strict=False):
        for key, label, line in (
            (name, name, "-"),
            (f"val_{name}", f"validation {name}", "--"),
        ):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                marker = "o" if len(epochs) == 1 else None
                ax.plot(
                    epochs, history[key], line, color=color, label=label, marker=marker
                )
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(ncols=len(names), fontsize="small")
    return set_title(ax, title)


def densities(x, curves, *, xlabel="x", ylabel="density", title="", ax=None):
    """Densities, or other functions of one variable, over a common axis.

    Parameters
    ----------
    x : array, shape (N,)
    curves : dict of str to array, shape (N,)
        Label and values of each curve. Where a value is NaN or infinite, as log 0 is,
        the curve has a gap.
    xlabel, ylabel, title : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If `x` is not a list of finite numbers, or `curves` not a dict of at least one
        of as many.
    """
    x = real_array("x", x, ("N",))
    if not x.size:
        raise ValueError("x is empty.")
    curves = _as_curves("curves", curves, len(x))
    ax = _axes(ax)
    for label, values in curves.items():
        ax.plot(x, values, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return set_title(ax, title)


def gaussian_ellipses(means, covariances, weights=None, *, title="", ax=None):
    """Gaussians in the plane, as ellipses of two standard deviations.

    Parameters
    ----------
    means : array, shape (K, 2)
    covariances : array, shape (K, 2, 2)
    weights : array, shape (K,), optional
        How opaque each is, relative to the largest.
    title : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the shapes do not fit together, a number is not finite, a covariance is not
        symmetric and positive definite, or a weight is negative, or all are zero.
    """
    means = real_array("means", means, ("K", 2))
    count = len(means)
    covariances = real_array("covariances", covariances, (count, 2, 2))
    weights = np.ones(count) if weights is None else weights
    weights = real_array("weights", weights, (count,))
    if not count:
        raise ValueError("means is empty, but must hold one or more.")
    if not (np.all(weights >= 0) and weights.max(initial=0) > 0):
        raise ValueError(f"weights are {weights}, but none may be negative, nor all 0.")
    roots = covariance_root("covariances", covariances)
    ax = _axes(ax)
    turn = np.linspace(0, 2 * np.pi, 101)
    circle = 2 * np.stack([np.cos(turn), np.sin(turn)])
    for k, root in enumerate(roots):
        color, opacity = COLORS[k % len(COLORS)], weights[k] / weights.max()
        ax.plot(*(means[k, :, None] + root @ circle), "-", color=color, alpha=opacity)
        ax.plot(*means[k], "+", color=color, alpha=opacity)
    return set_title(ax, title)


def sliders(draw, **ranges):
    """Show the figure that a function draws, with a slider for each argument.

    The figure is sent as a picture. (The outputs that `ipywidgets.interact` captures
    can leave a notebook that runs without a browser waiting for ever.)

    Parameters
    ----------
    draw : callable
        Draws one figure with pyplot, without showing it.
    **ranges : tuple of float
        For each argument of `draw` its least and largest value, the step, and where
        to start.

    Returns
    -------
    ipywidgets.VBox
        To be displayed: the last line of a cell.

    Raises
    ------
    ValueError
        If `draw` cannot be called, or a range is not four numbers, ascending, with a
        positive step and a start between its ends.
    """
    import ipywidgets

    if not callable(draw):
        raise ValueError(f"draw is {draw!r}, but must be a function that draws.")
    ranges = {name: _as_range(name, values) for name, values in ranges.items()}
    controls = {
        name: ipywidgets.FloatSlider(
            min=low, max=high, step=step, value=start, description=name
        )
        for name, (low, high, step, start) in ranges.items()
    }
    picture, places = ipywidgets.Image(format="png"), []

    def render():
        draw(**{name: control.value for name, control in controls.items()})
        figure, png = plt.gcf(), io.BytesIO()
        # A hand on the slider waits for this. So the layout is found once, which also
        # keeps the axes still; and no `savefig`, which draws twice and packs tightly.
        if len(places) == len(figure.axes):
            figure.set_layout_engine("none")
            for ax, place in zip(figure.axes, places, strict=True):
                ax.set_position(place)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        places[:] = [ax.get_position(original=True) for ax in figure.axes]
        plt.close(figure)
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        pixels.save(png, format="png", compress_level=1)
        return png.getvalue()

    def update(change=None):
        # A figure is garbage that only the collector finds: while it is young, in
        # milliseconds; later on with all else in memory, a standstill of 0.3 seconds.
        collecting = gc.isenabled()
        gc.disable()
        try:
            picture.value = render()
            gc.collect(0)
        finally:
            if collecting:
                gc.enable()

    for control in controls.values():
        control.observe(update, "value")
    update()
    return ipywidgets.VBox([*controls.values(), picture])


def _axes(ax, figsize=None):
    """Return the axes to draw into: new ones, if none are given."""
    if ax is None:
        return plt.subplots(figsize=figsize)[1]
    if not isinstance(ax, Axes):
        raise ValueError(
            f"ax is {ax!r}, but must be one of matplotlib's axes, or None."
        )
    return ax


def _as_curves(name, curves, length):
    """Return curves by their labels, as arrays of floats of one length, if given."""
    if not isinstance(curves, Mapping) or not curves:
        raise ValueError(
            f"{name} is {curves!r}, but must be a dict of curves by their labels."
        )
    found = {}
    for label, values in curves.items():
        part = f"{name}[{label!r}]"
        found[str(label)] = real_array(part, values, (length,), finite=False)
        if not len(found[str(label)]):
            raise ValueError(f"{part} is empty.")
    return found


def _as_range(name, values):
    low, high, step, start = values = real_array(name, values, (4,))
    if not (low < high and step > 0 and low <= start <= high):
        raise ValueError(
            f"{name} is {values}, but must be the least and the largest value, a "
            "positive step, and where between them to start."
        )
    return values


def _as_images(images):
    images = plain_array("images", images)
    if images.shape[3:] == (1,):
        images = images[..., 0]
    if images.ndim < 3 or not images.size or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            "images must have shape (N, height, width), or (N, height, width, 3) for "
            f"colour, or 1 in place of 3, with N at least 1, but has {images.shape}."
        )
    if images.dtype == np.uint8:
        return images / 255
    wanted = "bytes (uint8, 0 to 255) or floats in [0, 1]"
    if images.dtype.kind not in "fb":
        raise ValueError(f"images is {images.dtype}, but must be {wanted}.")
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"images runs from {low} to {high}, but must be {wanted}: np.clip what "
            "lies beyond."
        )
    return images
