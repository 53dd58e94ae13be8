"""The readers and the stand-ins of utils.datasets; no test uses a network."""

import gzip
import os
import pickle
import random
from pathlib import Path

from utils import datasets, standins
from utils.datasets import (
    DatasetError,
    load_mnist,
    load_svhn,
    standin_mnist,
    standin_svhn,
)

import numpy as np
import pytest
from scipy.io import savemat

SHARED = Path(
    os.environ.get("VI_DATA") or Path(__file__).parents[2] / "shared" / "data"
)
REAL = datasets.PROJECT / SHARED
NAMES = [name for pair in datasets.FILES["mnist"].values() for name in pair]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("VI_OFFLINE", "1")
    monkeypatch.delenv("VI_DATA", raising=False)


def idx(array, code=0x08, shape=None):
    """Bytes of an IDX file, with a header that may lie."""
    shape = array.shape if shape is None else shape
    head = bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes()
    return head + np.asarray(array, np.uint8).tobytes()


def write_mnist(folder, n_train=7, n_test=3):
    """Small files in the official format; returns the arrays by file name."""
    rng = np.random.default_rng(0)
    arrays = {}
    for (images, labels), n in zip(
        datasets.FILES["mnist"].values(), (n_train, n_test), strict=True
    ):
        arrays[images] = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        arrays[labels] = rng.integers(10, size=n, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(gzip.compress(idx(array)))
    return arrays


def write_svhn(folder, split="train", n=5, **changes):
    """A small .mat file in the official layout; returns images and labels."""
    rng = np.random.default_rng(1)
    images = rng.integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(1, n + 1, dtype=np.uint8) % 10
    content = {
        "X": images.transpose(1, 2, 3, 0),
        "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None],
    }
    content = {k: v for k, v in (content | changes).items() if v is not None}
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{split}_32x32.mat", content, do_compression=True)
    return images, labels


# ------------------------------------------------------------------ the record


def test_small_local_mnist_comes_back_exactly(tmp_path, capsys):
    arrays = write_mnist(tmp_path)
    mnist = load_mnist(tmp_path, "local")
    read = mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels
    for array, name in zip(read, NAMES, strict=True):
        np.testing.assert_array_equal(array, arrays[name])
    assert mnist.train_images.dtype == np.uint8
    assert mnist.train_labels.dtype == np.int64
    assert mnist.train_images.flags.writeable
    assert (mnist.name, mnist.source, mnist.notice) == ("mnist", "local", "")
    assert "train 7 images, not the official file" in mnist.description
    assert "test 3 images, not the official file" in mnist.description
    assert mnist.extra_images is None
    assert "array(" not in repr(mnist) and "7 images" in str(mnist)
    assert capsys.readouterr() == ("", "")


def test_small_local_svhn_comes_back_exactly(tmp_path):
    written = {
        split: write_svhn(tmp_path, split, n)
        for split, n in (("train", 5000), ("extra", 11))
    }
    svhn = load_svhn(tmp_path, "local", splits=["train", "extra"])
    np.testing.assert_array_equal(svhn.train_images, written["train"][0])
    np.testing.assert_array_equal(svhn.extra_images, written["extra"][0])
    np.testing.assert_array_equal(svhn.extra_labels, np.arange(1, 12) % 10)
    assert svhn.train_images.dtype == np.uint8
    assert svhn.train_images.flags.c_contiguous
    assert svhn.test_images is None and svhn.test_labels is None


def test_checksums_decide_what_is_official(tmp_path, monkeypatch):
    import hashlib

    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    content = path.read_bytes()
    row = (len(content), "md5", hashlib.md5(content).hexdigest())
    monkeypatch.setitem(datasets.OFFICIAL, path.name, row)
    text = load_svhn(tmp_path, "local", ["train"]).description
    assert "5 images, the official file" in text and "not the official" not in text


@pytest.mark.parametrize("relative", [False, True])
def test_vi_data_names_the_folder(tmp_path, monkeypatch, relative):
    write_mnist(tmp_path / "mnist", n_train=4)
    place = os.path.relpath(tmp_path, datasets.PROJECT) if relative else str(tmp_path)
    monkeypatch.setenv("VI_DATA", place)
    monkeypatch.chdir(tmp_path)
    assert len(load_mnist(source="auto").train_images) == 4


def test_without_vi_data_the_folder_is_data(tmp_path, monkeypatch):
    write_mnist(tmp_path / "data" / "mnist", n_train=6)
    monkeypatch.setattr(datasets, "PROJECT", tmp_path)
    assert len(load_mnist(source="local").train_images) == 6


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize("load", [load_mnist, load_svhn])
def test_bad_arguments(load, tmp_path):
    with pytest.raises(ValueError, match=r"source must be one of.*standin.*'web'"):
        load(tmp_path, "web")
    with pytest.raises(TypeError, match=r"folder must be a path.*got 5"):
        load(5)


@pytest.mark.parametrize("splits", ["train", (), ("train", "train"), ("all",), 3, None])
def test_bad_splits(splits, tmp_path):
    with pytest.raises(ValueError, match=r"splits must be a tuple or list.*'extra'"):
        load_svhn(tmp_path, "local", splits)


@pytest.mark.parametrize("make", [standin_mnist, standin_svhn])
@pytest.mark.parametrize(
    "bad", [{"n_train": 0}, {"n_test": 2.5}, {"seed": -1}, {"seed": None}]
)
def test_bad_numbers_for_standins(make, bad):
    (key,) = bad
    with pytest.raises(ValueError, match=f"{key} must be an integer >= [01], got"):
        make(**{"n_train": 2, "n_test": 2} | bad)


def test_missing_files_are_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path, "local")
    assert all((name in str(caught.value)) == (name in NAMES[1:3]) for name in NAMES)
    assert "source='download'" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"lacks extra_32x32\.mat"):
        load_svhn(tmp_path / "nowhere", "local", ("extra",))


def corrupt(folder, name, content):
    write_mnist(folder)
    (folder / name).write_bytes(content)


ONE, DIGITS = np.zeros((7, 28, 28), np.uint8), np.zeros(7, np.uint8)
PACKED = gzip.compress(idx(np.random.default_rng(0).integers(256, size=ONE.shape)))
FLIPPED = PACKED[:2000] + bytes(b ^ 0xFF for b in PACKED[2000:2100]) + PACKED[2100:]


@pytest.mark.parametrize("source", ["local", "auto"])
@pytest.mark.parametrize(
    "name, content, problem",
    [
        (NAMES[0], b"<html>Sign in</html>", "not a whole gzip"),
        (NAMES[0], b"", "no IDX header"),
        (NAMES[0], PACKED[:-900], "not a whole gzip"),
        (NAMES[0], FLIPPED, "not a whole gzip"),
        (NAMES[0], gzip.compress(b"\0\0\x08"), "no IDX header"),
        (NAMES[0], gzip.compress(pickle.dumps(ONE)), "no IDX header"),
        (NAMES[0], gzip.compress(idx(ONE, shape=(9, 28, 28))), "header promises 7,072"),
        (NAMES[0], gzip.compress(idx(ONE) + b"!"), "5,505 bytes where.*5,504"),
        (NAMES[0], gzip.compress(idx(ONE, code=0x0D)), "type code 0x0d, not 0x08"),
        (NAMES[0], gzip.compress(idx(ONE[:, 4:, 4:])), r"\(7, 24, 24\), not \('N', 28"),
        (NAMES[0], gzip.compress(idx(ONE[:0])), r"\(0, 28, 28\), not"),
        (NAMES[0], gzip.compress(idx(DIGITS)), "1 dimensions|no IDX header"),
        (NAMES[1], gzip.compress(idx(ONE)), "3 dimensions"),
        (NAMES[1], gzip.compress(idx(DIGITS + 10)), "labels from 10 to 10, not 0 to 9"),
        (NAMES[1], gzip.compress(idx(DIGITS[1:])), "6 labels for 7 images"),
    ],
    ids=range(15),
)
def test_damaged_mnist_is_refused(tmp_path, source, name, content, problem, capsys):
    corrupt(tmp_path, name, content)
    with pytest.raises(DatasetError, match=problem) as caught:
        load_mnist(tmp_path, source)
    assert str(tmp_path / name) in str(caught.value)
    assert "Delete it" in str(caught.value)
    assert "STAND-IN" not in capsys.readouterr().out
    assert (tmp_path / name).read_bytes() == content


X = np.zeros((32, 32, 3, 5), np.uint8)
Y = np.ones((5, 1), np.uint8)


@pytest.mark.parametrize("source", ["local", "auto"])
@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"X": X.transpose(3, 0, 1, 2)}, r"X has shape \(5, 32, 32, 3\), not"),
        ({"X": X[..., 0]}, "X has shape"),
        ({"X": X[..., :0], "y": Y[:0]}, "X has shape.*0\\)"),
        ({"X": X.astype(float)}, "X is of type float64, not uint8"),
        ({"X": np.array([{"a": 1}])}, "X is of type object"),
        ({"X": None}, "no variable X"),
        ({"y": None}, "no variable y"),
        ({"y": Y.astype(float)}, "y is of type float64"),
        ({"y": Y[1:]}, "4 labels for 5 images"),
        ({"y": Y * 11}, "labels from 11 to 11, not 1 to 10"),
        ({"y": Y * 0}, "labels from 0 to 0, not 1 to 10"),
    ],
)
def test_damaged_svhn_is_refused(tmp_path, source, changes, problem):
    write_svhn(tmp_path, **changes)
    with pytest.raises(DatasetError, match=problem) as caught:
        load_svhn(tmp_path, source, ["train"])
    assert "train_32x32.mat" in str(caught.value) and "Delete it" in str(caught.value)


class Trap:
    """Its pickle would end the test run, were it ever loaded."""

    def __reduce__(self):
        return os._exit, (99,)


@pytest.mark.parametrize(
    "content, problem",
    [
        (pickle.dumps(Trap()), "not a MATLAB 5.0 file"),
        (b"<!doctype html><title>Moved</title>" * 9, "not a MATLAB 5.0 file"),
        (b"", "not a MATLAB 5.0 file"),
        (b"MATLAB 5.0 MAT-file, and no more", "not a whole MATLAB file"),
        (
            b"MATLAB 5.0 MAT-file".ljust(128) + pickle.dumps(Trap()),
            "MATLAB file|no var",
        ),
    ],
    ids=range(5),
)
def test_mat_files_that_are_something_else(tmp_path, content, problem):
    (tmp_path / "train_32x32.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=problem):
        load_svhn(tmp_path, "local", ["train"])


def test_truncated_mat_file(tmp_path):
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match=r"not a whole MATLAB file|no variable"):
        load_svhn(tmp_path, "local", ["train"])


# ------------------------------------------------------- stand-ins, and the notice


@pytest.mark.parametrize("load", [load_mnist, load_svhn])
@pytest.mark.parametrize("source", ["auto", "standin"])
def test_standins_cannot_be_overlooked(load, source, tmp_path, capsys, monkeypatch):
    small = {"train": 3, "test": 2}
    make = datasets.make_standin
    monkeypatch.setattr(
        datasets, "make_standin", lambda name, _, seed: make(name, small, seed)
    )
    data = load(tmp_path, source)
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert data.source == "standin"
    assert data.notice == f"STAND-IN DATA, not {data.name.upper()}"
    assert data.notice in shown and shown.startswith("*" * 78)
    assert len({len(line) for line in shown.splitlines()}) == 1
    told = " ".join(shown.replace("*", " ").split())
    if source == "auto":
        assert "lacks" in told and "VI_OFFLINE is set" in told
    else:
        assert "asked for it" in told
    assert "source='download'" in told
    assert "train 3 images" in data.description and "Stand-in" in data.description
    assert list(tmp_path.iterdir()) == []


def test_default_sizes_of_standins(tmp_path, monkeypatch):
    asked = []
    make = datasets.make_standin
    monkeypatch.setattr(
        datasets,
        "make_standin",
        lambda name, sizes, seed: asked.append(sizes) or make(name, {"test": 1}, seed),
    )
    load_svhn(tmp_path, "standin", ("test", "extra"))
    assert asked == [{"test": 2_000, "extra": 10_000}]


@pytest.mark.parametrize(
    "make, shape", [(standin_mnist, (28, 28)), (standin_svhn, (32, 32, 3))]
)
def test_standins_are_what_they_promise(make, shape):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is tested
    states = np.random.get_state, random.getstate
    before = repr([state() for state in states])
    data = make(600, 40, seed=3)
    assert repr([state() for state in states]) == before
    assert data.train_images.shape == (600, *shape)
    assert data.test_images.shape == (40, *shape)
    assert data.train_images.dtype == np.uint8 and data.train_labels.dtype == np.int64
    assert np.bincount(data.train_labels, minlength=10).min() > 20
    again, other = make(600, 40, seed=3), make(600, 40, seed=4)
    np.testing.assert_array_equal(data.train_images, again.train_images)
    np.testing.assert_array_equal(data.test_labels, again.test_labels)
    assert not np.array_equal(data.train_images, other.train_images)
    assert not np.array_equal(data.train_images[:40], data.test_images)
    assert len({image.tobytes() for image in data.train_images}) == 600


@pytest.mark.parametrize("make, least", [(standin_mnist, 0.85), (standin_svhn, 0.3)])
def test_labels_of_standins_are_true(make, least):
    """A simple classifier can only beat chance where labels belong to images."""
    from sklearn.neighbors import KNeighborsClassifier

    def features(images):
        grey = images.reshape(len(images), *images.shape[1:3], -1).mean(-1)
        grey = np.abs(grey - np.median(grey, (1, 2), keepdims=True))
        return (grey / np.linalg.norm(grey, axis=(1, 2), keepdims=True)).reshape(
            len(grey), -1
        )

    data = make(3000, 300)
    knn = KNeighborsClassifier(5).fit(features(data.train_images), data.train_labels)
    assert knn.score(features(data.test_images), data.test_labels) > least


def test_standin_digits_look_like_mnist():
    images = standin_mnist(2000, 1).train_images
    assert 0.11 < images.mean() / 255 < 0.16
    assert (images == 0).mean() > 0.75 and (images > 250).mean() > 0.05
    assert images[:, [0, -1]].mean() < 3 and images[:, :, [0, -1]].mean() < 3
    grid = np.arange(28) - 13.5
    centre = (images.sum(1) @ grid).mean() / images.sum((1, 2)).mean()
    assert abs(centre) < 0.5


def test_no_scan_serves_both_training_and_test():
    class Spy(list):
        def __call__(self, rng, scale, size, turn):
            n = len(scale)
            return lambda stack, index, centre: (
                self.append(set(index.tolist())) or np.ones((n, size, size))
            )

    spy, real = Spy(), standins._warper
    try:
        standins._warper = spy
        standin_mnist(500, 500)
    finally:
        standins._warper = real
    train, test = spy
    assert len(train) > 300 and len(test) > 200 and not train & test


def test_standin_numbers_have_colour_neighbours_and_noise():
    images = standin_svhn(500, 1).train_images.astype(float)
    assert images.std((1, 2, 3)).min() > 4
    assert (images.max(-1) - images.min(-1)).mean() > 10
    edge = images[:, 8:-8, 0].std(1).mean()
    assert edge > 8


def test_pyplot_is_left_alone():
    import subprocess
    import sys

    code = (
        "import sys; from utils.datasets import standin_svhn; "
        "heavy = {'scipy', 'sklearn', 'matplotlib', 'pooch', 'keras', 'requests'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "standin_svhn(2, 2); assert 'matplotlib.pyplot' not in sys.modules"
    )
    env = os.environ | {"PYTHONPATH": str(datasets.PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------- the real files


def real(name):
    if not (REAL / name).is_dir():
        pytest.skip(f"no real {name.upper()} in {REAL}; set VI_DATA to have it tested")
    return REAL / name


def test_real_mnist(capsys):
    mnist = load_mnist(real("mnist"))
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train_labels).tolist() == counts
    assert abs(mnist.train_images.mean() / 255 - 0.1307) < 1e-4
    assert mnist.source == "local" and mnist.notice == ""
    assert "train 60,000 images, the official file" in mnist.description
    assert "test 10,000 images, the official file" in mnist.description
    assert capsys.readouterr() == ("", "")


def test_real_svhn():
    svhn = load_svhn(real("svhn"))
    full = svhn.train_images.shape[0] == 73_257
    n_train, n_test = (73_257, 26_032) if full else (7_000, 1_000)
    assert svhn.train_images.shape == (n_train, 32, 32, 3)
    assert svhn.test_images.shape == (n_test, 32, 32, 3)
    assert set(svhn.train_labels.tolist()) == set(range(10))
    status = "the official file" if full else "not the official file"
    assert f"train {n_train:,} images, {status}" in svhn.description
    # Neighbouring pixels of a photograph are alike, of a misread one they are not.
    images = svhn.train_images[:500].astype(float)
    for axis in (1, 2):
        assert np.abs(np.diff(images, axis=axis)).mean() < 0.3 * images.std()
