"""The readers and the stand-ins of utils.datasets; no test uses a network."""

import gzip
import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

from utils import datasets, standins
from utils.datasets import DatasetError, load_mnist, load_svhn
from utils.standins import make_standin

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.neighbors import KNeighborsClassifier

SHARED = Path(__file__).parents[2] / "shared" / "data"
REAL = datasets.PROJECT / (os.environ.get("VI_DATA") or SHARED)
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


def test_small_local_mnist_comes_back_exactly(tmp_path, capsys):
    arrays = write_mnist(tmp_path)
    mnist = load_mnist(tmp_path, "local")
    read = mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels
    for array, name in zip(read, NAMES, strict=True):
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == (np.uint8 if "images" in name else np.int64)
        assert array.flags.writeable and array.flags.c_contiguous
    assert (mnist.name, mnist.source, mnist.notice) == ("mnist", "local", "")
    text = "MNIST, local: 7 training and 3 test images, well-formed, not official: "
    assert mnist.description == f"{text}{', '.join(NAMES)}."
    assert mnist.extra_images is None
    assert "array(" not in repr(mnist) and mnist.description in repr(mnist)
    assert capsys.readouterr() == ("", "")


def test_small_local_svhn_comes_back_exactly(tmp_path):
    written = {s: write_svhn(tmp_path, s, n) for s, n in (("train", 50), ("extra", 11))}
    svhn = load_svhn(tmp_path, "local", splits=["train", "extra"])
    np.testing.assert_array_equal(svhn.train_images, written["train"][0])
    np.testing.assert_array_equal(svhn.extra_images, written["extra"][0])
    np.testing.assert_array_equal(svhn.extra_labels, np.arange(1, 12) % 10)
    assert svhn.train_images.dtype == np.uint8 and svhn.train_labels.dtype == np.int64
    assert svhn.train_images.flags.c_contiguous and svhn.test_labels is None


def test_checksums_decide_what_is_official(tmp_path, monkeypatch):
    for split in "train", "test":
        write_svhn(tmp_path, split)
    path = tmp_path / "train_32x32.mat"
    row = (1, "md5:" + hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setitem(datasets.OFFICIAL, path.name, row)
    text = load_svhn(tmp_path, "local").description
    assert text.endswith("not official: test_32x32.mat.")
    text = load_svhn(tmp_path, "local", ["train"]).description
    assert text == "SVHN, local: 5 training images, the official files."


@pytest.mark.parametrize("place", ["", "relative", "absolute"])
def test_vi_data_names_the_folder(tmp_path, monkeypatch, place):
    monkeypatch.setattr(datasets, "PROJECT", tmp_path)
    write_mnist(tmp_path / (place or "data") / "mnist", n_train=4)
    place = str(tmp_path / place) if place == "absolute" else place
    monkeypatch.setenv("VI_DATA", place)
    assert len(load_mnist(source="auto").train_images) == 4


@pytest.mark.parametrize("load", [load_mnist, load_svhn])
def test_bad_arguments(load, tmp_path):
    for source in ("web", None, ["local"], np.array(["local", "auto"])):
        with pytest.raises(
            ValueError, match=r"source is .*must be .*'download' or 'standin'"
        ):
            load(tmp_path, source)
    for folder in (5, b"data", 1j, [tmp_path]):
        with pytest.raises(TypeError, match=r"folder is .*must be a path"):
            load(folder)


@pytest.mark.parametrize(
    "splits", ["train", (), ("train", "all"), None, 5, [["train"]], np.nan]
)
def test_bad_splits(splits, tmp_path):
    with pytest.raises(ValueError, match=r"splits is .*must be names out of.*'extra'"):
        load_svhn(tmp_path, "local", splits)


@pytest.mark.parametrize(
    "name, sizes, seed, problem",
    [
        ("cifar", {"train": 2}, 0, "name is 'cifar', but must be 'mnist' or 'svhn'"),
        (["mnist"], {"train": 2}, 0, "name is .*must be 'mnist' or 'svhn'"),
        ("mnist", {"all": 2}, 0, "sizes is .*'all'.* must map names out of .*'extra'"),
        ("mnist", {}, 0, "sizes is {}"),
        ("mnist", 5, 0, "sizes is 5"),
        ("svhn", {"train": 0}, 0, r"sizes\['train'\] is 0.* positive integer"),
        ("svhn", {"train": True}, 0, r"sizes\['train'\] is True"),
        ("svhn", {"train": 2.0}, 0, r"sizes\['train'\] is 2\.0"),
        ("mnist", {"test": 2}, -1, "seed is -1.* integer of 0 or more"),
        ("mnist", {"test": 2}, True, "seed is True"),
        ("mnist", {"test": 2}, "0", "seed is '0'"),
    ],
)
def test_bad_arguments_of_standins(name, sizes, seed, problem):
    with pytest.raises(ValueError, match=problem):
        make_standin(name, sizes, seed)


def test_seeds_of_every_kind_make_standins():
    def draw(seed):
        return make_standin("svhn", {"test": np.int8(2)}, seed)

    same = [draw(seed) for seed in (3, np.int64(3), np.array(3))]
    same += [draw(np.random.SeedSequence(7)) for _ in range(2)]
    for one, other in [(0, 1), (0, 2), (3, 4)]:
        np.testing.assert_array_equal(same[one].test_images, same[other].test_images)
    for generator in (np.random.default_rng(7), np.random.RandomState(7), None):
        first, second = draw(generator), draw(generator)
        assert not np.array_equal(first.test_images, second.test_images)
        # What was drawn can be drawn again.
        seed = int(first.remark.removesuffix(")").rpartition("seed ")[2])
        np.testing.assert_array_equal(draw(seed).test_images, first.test_images)


def test_missing_files_are_named(tmp_path):
    write_mnist(tmp_path)
    for name in NAMES[1:3]:
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path, "local")
    assert f"{tmp_path} lacks {NAMES[1]}, {NAMES[2]}:" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"lacks extra_32x32\.mat"):
        load_svhn(tmp_path / "nowhere", "local", ("extra",))


ONE, DIGITS = np.zeros((7, 28, 28), np.uint8), np.zeros(7, np.uint8)
PACKED = gzip.compress(idx(np.random.default_rng(0).integers(256, size=ONE.shape)))
FLIPPED = PACKED[:2000] + bytes(b ^ 0xFF for b in PACKED[2000:2100]) + PACKED[2100:]


@pytest.mark.parametrize("source", ["local", "auto"])
@pytest.mark.parametrize(
    "name, content, problem",
    [
        (NAMES[0], b"<html>Sign in</html>", "not a whole gzip"),
        (NAMES[0], b"", "header 0x0"),
        (NAMES[0], PACKED[:-900], "not a whole gzip"),
        (NAMES[0], PACKED[:-4], "not a whole gzip"),
        (NAMES[0], FLIPPED, "not a whole gzip"),
        (NAMES[0], gzip.compress(b"\0\0\x08"), "header 0x800"),
        (NAMES[0], gzip.compress(pickle.dumps(ONE)), "header 0x800"),
        (NAMES[0], gzip.compress(idx(ONE, shape=(9, 28, 28))), "not the 9 items"),
        (NAMES[0], gzip.compress(idx(ONE) + b"!"), "5,505 bytes, not the 7 items"),
        (NAMES[0], gzip.compress(idx(ONE, code=0x0D)), "header 0xd03.*not 0x803"),
        (NAMES[0], gzip.compress(idx(ONE[:, 4:, 4:])), r"\(7, 24, 24\), not .*'N', 28"),
        (NAMES[0], gzip.compress(idx(ONE[:0])), r"\(0, 28, 28\), not"),
        (NAMES[0], gzip.compress(idx(DIGITS)), "header 0x801"),
        (NAMES[1], gzip.compress(idx(ONE)), "header 0x803.*not 0x801"),
        (NAMES[1], gzip.compress(idx(DIGITS + 10)), "labels from 10 to 10, not 0 to 9"),
        (NAMES[1], gzip.compress(idx(DIGITS[1:])), "6 labels for 7 images"),
    ],
    ids=range(16),
)
def test_damaged_mnist_is_refused(tmp_path, source, name, content, problem, capsys):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=problem) as caught:
        load_mnist(tmp_path, source)
    assert f"{tmp_path / name}: " in str(caught.value)
    assert "delete it" in str(caught.value)
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / name).read_bytes() == content


X = np.zeros((32, 32, 3, 5), np.uint8)
Y = np.ones((5, 1), np.uint8)


@pytest.mark.parametrize("source", ["local", "auto"])
@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"X": X.transpose(3, 0, 1, 2)}, r"X is uint8 \(5, 32, 32, 3\), not"),
        ({"X": X[..., 0]}, "X is uint8"),
        ({"X": X[..., :0], "y": Y[:0]}, r"X is uint8.*0\)"),
        ({"X": X.astype(float)}, "X is float64.*not uint8"),
        ({"X": np.array([{"a": 1}])}, "X is object"),
        ({"X": None}, "X and y.*'X'"),
        ({"y": None}, "X and y.*'y'"),
        ({"y": Y.astype(float)}, "y is float64"),
        ({"y": Y[1:]}, "4 labels for 5 images"),
        ({"y": Y * 11}, "labels from 11 to 11, not 1 to 10"),
        ({"y": Y * 0}, "labels from 0 to 0, not 1 to 10"),
    ],
)
def test_damaged_svhn_is_refused(tmp_path, source, changes, problem):
    write_svhn(tmp_path, **changes)
    with pytest.raises(DatasetError, match=problem) as caught:
        load_svhn(tmp_path, source, ["train"])
    assert f"{tmp_path / 'train_32x32.mat'}: " in str(caught.value)


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
        (b"MATLAB 5.0 MAT-file".ljust(128) + pickle.dumps(Trap()), "not a whole"),
        (None, "not a whole MATLAB file"),  # a truncated one
    ],
    ids=range(6),
)
def test_mat_files_that_are_something_else(tmp_path, content, problem):
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(DatasetError, match=problem):
        load_svhn(tmp_path, "local", ["train"])


@pytest.mark.parametrize("load", [load_mnist, load_svhn])
@pytest.mark.parametrize("source", ["auto", "standin"])
def test_standins_cannot_be_overlooked(load, source, tmp_path, capsys, monkeypatch):
    def make(name, sizes):
        assert sizes == {"train": 10_000, "test": 2_000}
        return make_standin(name, {"train": 3, "test": 2})

    monkeypatch.setattr(datasets, "make_standin", make)
    data = load(tmp_path, source)
    shown, errors = capsys.readouterr()
    stars, description, *reasons, how, last = shown.splitlines()
    assert errors == "" and stars == last == "*" * 78
    assert data.source == "standin" and data.description == description
    assert data.notice == f"STAND-IN DATA, not {data.name.upper()}"
    assert description.startswith(f"{data.notice}: 3 training and 2 test images, ")
    if source == "auto":
        assert reasons[0].startswith(f"Not local: {tmp_path} lacks t")
        assert reasons[1].startswith("Not download: VI_OFFLINE is set")
    assert "source='download'" in how and "data/README.md" in how
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name, shape", [("mnist", (28, 28)), ("svhn", (32, 32, 3))])
def test_standins_are_what_they_promise(name, shape):
    random.seed(0)
    states = np.random.get_state, random.getstate
    before = repr([state() for state in states])
    data = make_standin(name, {"train": 600, "test": 40}, seed=3)
    assert repr([state() for state in states]) == before
    assert data.train_images.shape == (600, *shape)
    assert data.test_images.shape == (40, *shape)
    assert data.train_images.dtype == np.uint8 and data.train_labels.dtype == np.int64
    assert np.bincount(data.train_labels, minlength=10).min() > 20
    again, other = (make_standin(name, {"train": 600}, seed) for seed in (3, 4))
    np.testing.assert_array_equal(data.train_images, again.train_images)
    np.testing.assert_array_equal(data.train_labels, again.train_labels)
    assert not np.array_equal(data.train_images, other.train_images)
    assert not np.array_equal(data.train_images[:40], data.test_images)
    assert len({image.tobytes() for image in data.train_images}) == 600


@pytest.mark.parametrize("name, least", [("mnist", 0.85), ("svhn", 0.3)])
def test_labels_of_standins_are_true(name, least):
    """A simple classifier can only beat chance where labels belong to images."""

    def features(images):
        grey = images.reshape(len(images), *images.shape[1:3], -1).mean(-1)
        grey = np.abs(grey - np.median(grey, (1, 2), keepdims=True))
        grey /= np.linalg.norm(grey, axis=(1, 2), keepdims=True)
        return grey.reshape(len(grey), -1)

    data = make_standin(name, {"train": 3000, "test": 300})
    knn = KNeighborsClassifier(5).fit(features(data.train_images), data.train_labels)
    assert knn.score(features(data.test_images), data.test_labels) > least


def test_standins_look_like_the_real_data():
    images = make_standin("mnist", {"train": 2000}).train_images
    assert 0.11 < images.mean() / 255 < 0.16
    assert (images == 0).mean() > 0.75 and (images > 250).mean() > 0.05
    assert images[:, [0, -1]].mean() < 3 and images[:, :, [0, -1]].mean() < 3
    images = make_standin("svhn", {"train": 500}).train_images.astype(float)
    assert images.std((1, 2, 3)).min() > 4
    assert (images.max(-1) - images.min(-1)).mean() > 10  # colours
    assert images[:, 8:-8, 0].std(1).mean() > 8  # neighbours at the edge


def test_no_scan_serves_both_training_and_test(monkeypatch):
    scans, _ = standins._scans()
    numbered = scans, np.arange(len(scans))  # the label of a scan is now its number
    monkeypatch.setattr(standins, "_scans", lambda: numbered)
    data = make_standin("mnist", {"train": 1000, "test": 1000})
    train, test = set(data.train_labels.tolist()), set(data.test_labels.tolist())
    assert len(train) > 600 and len(test) > 300 and not train & test


def test_pyplot_and_sklearn_are_left_alone():
    code = (
        "import sys; from utils.datasets import make_standin; "
        "heavy = {'sklearn', 'matplotlib', 'keras', 'requests'} & set(sys.modules); "
        "assert not heavy, heavy; make_standin('svhn', {'test': 2}); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=datasets.PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


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
    text = "MNIST, local: 60,000 training and 10,000 test images, the official files."
    assert mnist.description == text
    assert capsys.readouterr() == ("", "")


def test_real_svhn():
    svhn = load_svhn(real("svhn"))
    full = svhn.train_images.shape[0] == 73_257
    n_train, n_test = (73_257, 26_032) if full else (7_000, 1_000)
    assert svhn.train_images.shape == (n_train, 32, 32, 3)
    assert svhn.test_images.shape == (n_test, 32, 32, 3)
    assert set(svhn.train_labels.tolist()) == set(range(10))
    assert f"{n_train:,} training and {n_test:,} test images" in svhn.description
    assert ("the official files" in svhn.description) == full
    # Neighbouring pixels of a photograph are alike, of a misread one they are not.
    images = svhn.train_images[:500].astype(float)
    for axis in (1, 2):
        assert np.abs(np.diff(images, axis=axis)).mean() < 0.3 * images.std()
