import gc
import io
import weakref

from utils import plotting

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image


@pytest.fixture(autouse=True)
def style():
    plotting.use_style()
    yield
    plotting.use_style()


def canvas(ax):
    return np.asarray(ax.images[0].get_array())


IMAGES = np.arange(6, dtype="uint8")[:, None, None] * np.ones((6, 4, 3), "uint8") * 40


def test_image_grid_puts_images_row_after_row():
    picture = canvas(plotting.image_grid(IMAGES, 3))
    assert picture.shape == (2 * 5 - 1, 3 * 4 - 1)
    for index in range(6):
        row, column = divmod(index, 3)
        tile = picture[row * 5 : row * 5 + 4, column * 4 : column * 4 + 3]
        np.testing.assert_allclose(tile, index * 40 / 255)


def test_image_grid_names_its_rows():
    ax = plotting.image_grid(IMAGES, 3, row_labels=["first", "second"])
    size = IMAGES.shape[1]
    assert [text.get_text() for text in ax.texts] == ["first", "second"]
    for row, text in enumerate(ax.texts):
        left, middle = text.get_position()
        assert left < 0
        assert row * (size + 1) < middle < (row + 1) * (size + 1)


def test_image_grid_fills_the_last_row_and_takes_colour():
    colour = np.repeat(IMAGES[..., None], 3, axis=-1)
    picture = canvas(plotting.image_grid(colour, 4))
    assert picture.shape == (2 * 5 - 1, 4 * 4 - 1, 3)
    assert np.all(picture[5:, 8:] == 1)


def test_image_grid_takes_one_channel_and_booleans():
    plain = canvas(plotting.image_grid(IMAGES, 3))
    np.testing.assert_array_equal(
        canvas(plotting.image_grid(IMAGES[..., None], 3)), plain
    )
    ink = IMAGES > 100
    drawn = canvas(plotting.image_grid(ink, 3))
    np.testing.assert_array_equal(drawn, canvas(plotting.image_grid(1.0 * ink, 3)))


def test_the_manifold_runs_upwards():
    images = np.arange(6)[:, None, None] * np.ones((6, 2, 2)) / 6
    ax = plotting.latent_manifold(images, [-1.0, 0.0, 1.0], [-2e-3, 2e-3])
    picture = canvas(ax)
    np.testing.assert_allclose(picture[-1], np.repeat([0, 1, 2], 2) / 6)
    np.testing.assert_allclose(picture[0], np.repeat([3, 4, 5], 2) / 6)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["-1.0", "0.0", "1.0"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["-0.002", "0.002"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$z_1$", "$z_2$")


def test_scatter_marks_and_names_each_class():
    z, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    ax = plotting.latent_scatter(z, labels)
    assert sorted(t.get_text() for t in ax.texts) == ["0", "1", "2"]
    assert sum(len(c.get_offsets()) for c in ax.collections) == 30
    assert ax.get_xlabel() == "$z_1$"
    names = np.array(["one", "two"], dtype=object)[labels % 2]
    ax = plotting.latent_scatter(z, names)
    assert [t.get_text() for t in ax.texts] == ["one", "two"]


def test_names_of_classes_in_one_place_do_not_hide_each_other():
    rng = np.random.default_rng(1)
    labels = np.arange(600) % 12
    z = np.concatenate([rng.normal(size=(600, 2)), [[-9, -9], [9, 9]]])
    ax = plotting.latent_scatter(z, [*labels, 0, 1])
    places = np.array([t.get_position() for t in ax.texts])
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    assert distances[np.triu_indices(12, 1)].min() > 18 / 14 - 0.05
    assert np.linalg.norm(places, axis=1).max() < 3  # about where they belong


def test_an_ellipse_is_two_standard_deviations_from_its_mean():
    mean, covariance = np.array([[1.0, -2.0]]), np.array([[[2.0, 0.9], [0.9, 1.0]]])
    ax = plotting.gaussian_ellipses(mean, covariance)
    ellipse = ax.lines[0].get_xydata() - mean
    distances = np.einsum("nd,de,ne->n", ellipse, np.linalg.inv(covariance[0]), ellipse)
    np.testing.assert_allclose(distances, 4)
    assert len(ax.lines) == 2


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("other", [1e-9, 1e9])
def test_ellipses_are_of_any_units(unit, other):
    units = np.outer([unit, other], [unit, other])
    covariances = np.array([[[2.0, 0.9], [0.9 * (1 + 1e-12), 1.0]]]) * units
    ax = plotting.gaussian_ellipses(np.array([[0, 0]], "int8"), covariances)
    width, height = np.ptp(ax.lines[0].get_xydata(), axis=0)
    assert width == pytest.approx(4 * np.sqrt(2) * unit, rel=1e-3)
    assert height == pytest.approx(4 * other, rel=1e-3)
    with pytest.raises(ValueError, match="symmetric"):
        plotting.gaussian_ellipses(*ONE[:1], [[[2.0, 0.9], [0.8, 1.0]]] * units)


def test_light_components_are_faint():
    ax = plotting.gaussian_ellipses(np.zeros((2, 2)), [np.eye(2)] * 2, [0.8, 0.2])
    assert [line.get_alpha() for line in ax.lines] == [1, 1, 0.25, 0.25]


def test_curves_pair_training_with_validation():
    history = {"loss": [3.0, 2.0], "kl": [1.0, 1.0], "val_loss": [3.5, 2.5]}
    ax = plotting.training_curves(history)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["loss", "validation loss", "kl"]
    assert lines["loss"].get_color() == lines["validation loss"].get_color()
    assert list(lines["kl"].get_xdata()) == [1, 2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "nats per image")


def test_curves_are_of_any_number_and_of_a_history_itself():
    metrics = {f"m{i}": [1.0, 2.0] for i in range(9)}
    fitted = type("History", (), {"history": metrics})
    ax = plotting.training_curves(fitted)
    assert [line.get_label() for line in ax.lines] == list(metrics)


def test_a_name_that_holds_val_is_not_a_validation():
    ax = plotting.training_curves({"interval_x": [1.0, 2.0], "val_only": [2.0, np.nan]})
    labels = [line.get_label() for line in ax.lines]
    assert labels == ["interval_x", "validation only"]


def test_densities_label_their_curves():
    ax = plotting.densities([0, 1], {"p": [1, 2], "q": [2, 1]}, xlabel="z")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["p", "q"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z", "density")
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == 2


ONE = [[0, 0]], np.eye(2)[None]
DRAWINGS = [
    lambda **options: plotting.image_grid(IMAGES, **options),
    lambda **options: plotting.latent_scatter(np.zeros((2, 2)), [0, 1], **options),
    lambda **options: plotting.latent_manifold(IMAGES, [0, 1, 2], [0, 1], **options),
    lambda **options: plotting.training_curves({"loss": [1.0]}, **options),
    lambda **options: plotting.densities([0, 1], {"p": [0, 1]}, **options),
    lambda **options: plotting.gaussian_ellipses([[0, 0]], [np.eye(2)], **options),
]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_the_notice_heads_every_figure(draw):
    plotting.use_style("STAND-IN DATA, not MNIST")
    assert draw(title="t").get_title() == "STAND-IN DATA, not MNIST\nt"


@pytest.mark.parametrize("draw", DRAWINGS)
def test_figures_go_into_the_axes_they_are_given(draw):
    ax = plt.subplots()[1]
    assert draw(ax=ax) is ax
    assert len(plt.get_fignums()) == 1


# In the place of each argument, numbers that are none, and what else is given.
CALLS = {
    "images": lambda v: plotting.image_grid(v),
    "num_columns": lambda v: plotting.image_grid(IMAGES, v),
    "row_labels": lambda v: plotting.image_grid(IMAGES, 3, row_labels=v),
    "z": lambda v: plotting.latent_scatter(v, [0, 1]),
    "labels": lambda v: plotting.latent_scatter([[0, 1], [1, 0]], v),
    "z1": lambda v: plotting.latent_manifold(IMAGES, v, [0, 1]),
    "z2": lambda v: plotting.latent_manifold(IMAGES, [0, 1, 2], v),
    "history": lambda v: plotting.training_curves(v),
    "x": lambda v: plotting.densities(v, {"p": [1, 2]}),
    "curves": lambda v: plotting.densities([0, 1], v),
    "means": lambda v: plotting.gaussian_ellipses(v, [np.eye(2)] * 2),
    "covariances": lambda v: plotting.gaussian_ellipses(np.eye(2), v),
    "weights": lambda v: plotting.gaussian_ellipses(np.eye(2), [np.eye(2)] * 2, v),
    "draw": lambda v: plotting.sliders(v),
    "top": lambda v: plotting.sliders(plt.figure, top=v),
    "ax": lambda v: plotting.densities([0, 1], {"p": [1, 2]}, ax=v),
    "notice": lambda v: plotting.use_style(v),
    "title": lambda v: plotting.set_title(plt.figure().gca(), v),
}
WRONG = {
    "complex": np.array([[1j, 2], [0, 1]]),
    "masked": np.ma.masked_equal([[0.0, 1.0], [2.0, 3.0]], 3.0),
    "NaN": np.full((2, 2), np.nan),
    "text": [["a", "b"], ["c", "d"]],
    "nothing": [],
    "ragged": [[1], [1, 2]],
    "object": object(),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_something_else_is_refused_by_name(name, kind):
    if (name, kind) == ("row_labels", "nothing"):  # which is right there
        return
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        CALLS[name](WRONG[kind])
    assert name == "title" or not plt.get_fignums(), "a figure left open"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.image_grid(IMAGES, 3, row_labels="ab"), "row_labels is ab"),
        (lambda: plotting.latent_scatter(np.eye(2), [0.5, 1]), "labels are float64"),
        (lambda: plotting.latent_manifold(IMAGES, [2, 1, 0], [0, 1]), "z1 is .*ascend"),
        (lambda: plotting.training_curves({"loss": []}), r"history\['loss'\] is empty"),
        (lambda: plotting.densities([0, 1], {"p": [1]}), r"curves\['p'\] has shape"),
        (lambda: plotting.densities([0, np.nan], {"p": [1, 2]}), "x holds nan"),
        (
            lambda: plotting.gaussian_ellipses([[0, 0]], [[[1, 5], [0.5, 1]]]),
            "covariances must be symmetric",
        ),
        (lambda: plotting.sliders(plt.figure, top=(0, 1, 0, 0)), "top is .*positive"),
        (lambda: plotting.sliders(plt.figure, top=(0, 1, 0.1, 2)), "top is .*start"),
        (lambda: plotting.image_grid(np.zeros((2, 3))), r"\(N, height, width\)"),
        (lambda: plotting.image_grid(np.zeros((0, 3, 3))), "at least 1"),
        (
            lambda: plotting.image_grid(IMAGES, 3, row_labels=["first"]),
            "row_labels is .* for each of 2",
        ),
        (
            lambda: plotting.image_grid(np.zeros((2, 3, 3, 4))),
            r"\(N, height, width, 3\)",
        ),
        (lambda: plotting.latent_scatter(np.zeros((2, 3)), [0, 1]), r"\(N, 2\)"),
        (lambda: plotting.latent_scatter(np.zeros((2, 2)), [0]), "labels"),
        (lambda: plotting.latent_manifold(IMAGES, [0, 1], [0, 1]), "needs 4"),
        (lambda: plotting.gaussian_ellipses([[0, 0]], np.eye(2)), r"\(1, 2, 2\)"),
        (lambda: plotting.image_grid(IMAGES * 1.0), r"to 200.* floats in \[0, 1\]"),
        (lambda: plotting.image_grid(IMAGES / 255 - 1), r"runs from -1.* in \[0, 1\]"),
        (lambda: plotting.image_grid(IMAGES.astype(int)), "int64, but must be bytes"),
        (lambda: plotting.image_grid(IMAGES * np.nan), "runs from nan"),
        (lambda: plotting.image_grid(IMAGES, 0), "num_columns is 0"),
        (lambda: plotting.image_grid(IMAGES, -2), "num_columns is -2"),
        (lambda: plotting.gaussian_ellipses(*ONE, [0.0]), "weights are .* nor all 0"),
        (lambda: plotting.gaussian_ellipses(*ONE, [-1.0]), "none may be negative"),
        (
            lambda: plotting.gaussian_ellipses([[0, 0]], -np.eye(2)[None]),
            "covariances must be .*positive definite",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_moving_a_slider_draws_anew():
    asked = []

    def draw(height, width):
        asked.append((height, width))
        _, ax = plt.subplots()
        ax.plot([0, width], [0, height])

    box = plotting.sliders(draw, height=(0, 5, 0.5, 2), width=(1, 3, 1, 1))
    height, width, picture = box.children
    assert (height.value, height.min, height.max, height.step) == (2, 0, 5, 0.5)
    first = bytes(picture.value)
    assert first.startswith(b"\x89PNG")
    height.value, width.value = 4.5, 3
    assert asked == [(2, 1), (4.5, 1), (4.5, 3)]
    assert bytes(picture.value) != first
    assert not plt.get_fignums(), "figures left open"


def test_axes_keep_their_place_while_a_slider_moves():
    seen = []

    def draw(top):
        _, ax = plt.subplots()
        ax.set(ylim=(0, 10**top), ylabel="y")
        seen.append(ax)

    box = plotting.sliders(draw, top=(0, 6, 1, 1))
    box.children[0].value = 6  # wider labels
    first, second = (ax.get_position().bounds for ax in seen)
    assert second == pytest.approx(first)
    assert first != pytest.approx(plt.subplots(layout="none")[1].get_position().bounds)


def test_what_a_hand_on_a_slider_waits_for(monkeypatch):
    """One drawing, packed fast, and no search through all that is in memory."""
    events, figures, collected = [], [], []

    def draw(phase):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3))
        figures.append(weakref.ref(figure))
        events.append("collector" if gc.isenabled() else "drawn")
        t = np.linspace(0, 6, 9)
        for ax in axes:
            plotting.densities(t, {"wave": np.sin(t + phase), "t": t}, ax=ax)

    def tell(place, name, event):
        whole = getattr(place, name)

        def told(*args, **options):
            events.append(event)
            return whole(*args, **options)

        monkeypatch.setattr(place, name, told)

    tell(FigureCanvasAgg, "draw", "rendered")
    tell(ConstrainedLayoutEngine, "execute", "laid out")
    tell(Figure, "savefig", "saved")
    collect = gc.collect
    monkeypatch.setattr(gc, "collect", lambda *of: collected.append(of) or collect(*of))
    first, *others = [1, 2, 3]
    slider, picture = plotting.sliders(draw, phase=(0, 9, 1, first)).children
    assert events == ["drawn", "rendered", "laid out"]
    for phase in others:
        del events[:], collected[:]
        slider.value = phase
        assert events == ["drawn", "rendered"]
        assert collected == [(0,)]  # of the young only
        # Figures that are left to the collector are a standstill when it comes.
        assert not any(figure() for figure in figures)
        assert gc.isenabled()
    assert b"IDAT\x78\x01" in bytes(picture.value), "packed at the fastest level"
    anew = plotting.sliders(draw, phase=(0, 9, 1, others[-1])).children[1]
    np.testing.assert_allclose(pixels(anew), pixels(picture), atol=2)


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.value)), float)


def test_a_slider_whose_drawing_fails_leaves_the_collector_on():
    with pytest.raises(ZeroDivisionError):
        plotting.sliders(lambda top: 1 / top, top=(0, 1, 1, 0))
    assert gc.isenabled()
