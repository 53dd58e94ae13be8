"""MNIST and SVHN: from a folder, from their owners, or as stand-ins that say so.

`VI_DATA` names the folder of `mnist` and `svhn` (default `data`; a relative one
starts at the project's root). `VI_OFFLINE=1` forbids downloads. Nothing is unpickled.
"""

import gzip
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from utils.arguments import choice
from utils.standins import SPLITS, Dataset, make_standin

import numpy as np
import pooch
from filelock import FileLock
from scipy.io import loadmat
from tqdm import tqdm

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = ("auto", "local", "download", "standin")
SILENCE_LIMIT = 15.0  # seconds without data; each mirror has its share, once
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "svhn": ("http://ufldl.stanford.edu/housenumbers/",),
}
OFFICIAL = {  # file name: bytes and checksum
    "train-images-idx3-ubyte.gz": (9_912_422, "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28_881, "md5:d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "md5:9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "md5:ec29112dd5afa0611ce80d1b7f02629c"),
    "train_32x32.mat": (182_040_794, "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
    "test_32x32.mat": (64_275_384, "md5:eb5a983be6a315427106f1b164d9cef3"),
    "extra_32x32.mat": (1_329_278_602, "md5:a93ce644f1a588dc4d68dda5feec44a7"),
}
FILES = {"mnist": {"train": [*OFFICIAL][:2], "test": [*OFFICIAL][2:4]}}
FILES["svhn"] = {split: [f"{split}_32x32.mat"] for split in SPLITS}


class DatasetError(RuntimeError):
    """A data file is damaged or in the way, or a download failed."""


class DownloadError(DatasetError):
    """No mirror delivered, or nothing can be written: `auto` makes stand-ins."""


def load_mnist(folder=None, source="auto"):
    """Load the MNIST handwritten digits (LeCun et al., 1998).

    Parameters
    ----------
    folder : path, optional
        Where the files lie or shall land; default `$VI_DATA/mnist` or `data/mnist`.
    source : {"auto", "local", "download", "standin"}
        "auto": local files, else a download, else stand-ins under a loud notice.

    Returns
    -------
    Dataset
        uint8 images (60000, 28, 28) and (10000, 28, 28), int64 labels (N,).

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        An argument makes no sense, or source="local" and files are missing.
    DatasetError
        A file is damaged, or with source="download" no mirror delivered.

    Examples
    --------
    >>> load_mnist(source="standin").notice  # doctest: +ELLIPSIS
    *...'STAND-IN DATA, not MNIST'
    """
    return _load("mnist", folder, source, ("train", "test"))


def load_svhn(folder=None, source="auto", splits=("train", "test")):
    """Load the Street View House Numbers (Netzer et al., 2011), non-commercial use.

    Parameters
    ----------
    folder, source
        As for `load_mnist`, with `svhn` for `mnist`.
    splits : tuple or list of {"train", "test", "extra"}
        What to load: 73,257, 26,032 and 531,131 images.

    Returns
    -------
    Dataset
        uint8 images (N, 32, 32, 3) and int64 labels (N,) for each split.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, DatasetError
        As for `load_mnist`.

    Examples
    --------
    >>> load_svhn(source="standin", splits=["test"])  # doctest: +ELLIPSIS
    *...<Dataset svhn, source='standin': STAND-IN DATA, not SVHN: 2,000 test images...>
    """
    names = splits if isinstance(splits, (tuple, list)) else ()
    if not names or not all(isinstance(n, str) and n in SPLITS for n in names):
        raise ValueError(f"splits is {splits!r}, but must be names out of {SPLITS}.")
    return _load("svhn", folder, source, splits)


def _load(name, folder, source, splits):
    source = choice("source", source, SOURCES)
    default = PROJECT / Path(os.environ.get("VI_DATA") or "data").expanduser() / name
    if not isinstance(folder, (str, os.PathLike, type(None))):
        raise TypeError(f"folder is {folder!r}, but must be a path, or None.")
    folder = default if folder is None else Path(folder).expanduser()
    files = {split: [folder / file for file in FILES[name][split]] for split in splits}
    paths = [path for split in splits for path in files[split]]
    reasons = []
    for way in {"auto": ("local", "download"), "standin": ()}.get(source, (source,)):
        try:
            if way == "download" and not all(path.is_file() for path in paths):
                _download(folder, paths, list(MIRRORS[name]))
            return _read(name, way, folder, files)
        except (FileNotFoundError, DownloadError) as error:
            if source != "auto":
                raise
            reasons.append(f"Not {way}: {error}")
    data = make_standin(name, {s: 2_000 if s == "test" else 10_000 for s in splits})
    how = "For real data: source='download' on a network, or files as in data/README.md"
    print("*" * 78, data.description, *reasons, how, "*" * 78, sep="\n", flush=True)
    return data


def _read(name, source, folder, files):
    """Read and check all files, and tell whether they are the official ones."""
    paths = [path for split in files for path in files[split]]
    missing = ", ".join(path.name for path in paths if not path.is_file())
    if missing:
        raise FileNotFoundError(f"{folder} lacks {missing}: see data/README.md")
    other = ", ".join(path.name for path in paths if not _is_official(path))
    if other and source == "download":
        raise DatasetError(f"not the official files, move them from {folder}: {other}")
    arrays, read = {}, _read_mnist if name == "mnist" else _read_svhn
    for split in files:
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = read(*files[split])
    remark = f"well-formed, not official: {other}" if other else "the official files"
    return Dataset(name, source, remark, **arrays)


def _is_official(path):
    algorithm, checksum = OFFICIAL[path.name][1].split(":")
    return pooch.file_hash(path, algorithm) == checksum


def _check(good, path, problem):
    if not good:
        raise DatasetError(f"{path}: {problem}; delete it to have it downloaded")


def _check_labels(path, labels, span, count):
    _check(len(labels) == count, path, f"{len(labels):,} labels for {count:,} images")
    low, high, good = labels.min(), labels.max(), set(labels.tolist()) <= set(span)
    _check(good, path, f"labels from {low} to {high}, not {span[0]} to {span[-1]}")


def _read_mnist(image_path, label_path):
    images, labels = _read_idx(image_path, 28, 28), _read_idx(label_path)
    _check_labels(label_path, labels, range(10), len(images))
    return images, labels.astype(np.int64)


def _read_idx(path, *item):
    try:
        content = bytearray(gzip.decompress(path.read_bytes()))  # bytes are read-only
    except Exception as error:  # broken bytes lead to errors of many types
        _check(False, path, f"not a whole gzip file ({error})")
    start, magic = 8 + 4 * len(item), 0x0801 + len(item)  # type uint8, dimensions
    header = content[:start].ljust(start, b"\0")
    found, count, *shape = np.frombuffer(header, ">u4").tolist()
    good = found == magic and shape == [*item] and count > 0
    problem = f"header {found:#x} {count, *shape}, not {magic:#x} {'N', *item}"
    _check(good, path, problem)
    whole = len(content) == start + count * np.prod(item, dtype=int)
    _check(whole, path, f"{len(content):,} bytes, not the {count:,} items promised")
    return np.frombuffer(content, np.uint8, -1, start).reshape(-1, *item)


def _read_svhn(path):
    start = np.fromfile(path, "S19", 1).tolist()
    _check(start == [b"MATLAB 5.0 MAT-file"], path, "not a MATLAB 5.0 file")
    try:
        content = loadmat(path, variable_names=["X", "y"])
        x, y = np.asarray(content["X"]), np.asarray(content["y"]).ravel()
    except Exception as error:  # of many types, as above
        _check(False, path, f"not a whole MATLAB file with X and y ({error!r})")
    good = x.dtype == np.uint8 and x.ndim == 4 and x.shape[:3] == (32, 32, 3) and x.size
    _check(good, path, f"X is {x.dtype} {x.shape}, not uint8 (32, 32, 3, N)")
    _check(y.dtype.kind in "ui", path, f"y is {y.dtype}, not uint8")
    _check_labels(path, y, range(1, 11), x.shape[3])
    return np.ascontiguousarray(x.transpose(3, 0, 1, 2)), y.astype(np.int64) % 10


def _download(folder, paths, mirrors):
    """Bring missing files, each whole or not at all; drop mirrors that fail once."""
    if os.environ.get("VI_OFFLINE", "0") not in ("", "0"):
        raise DownloadError("VI_OFFLINE is set, which forbids every download")
    share, failures = SILENCE_LIMIT / len(mirrors), ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # a second kernel waits here
            for path in paths:
                while not path.is_file():
                    if not mirrors:
                        raise DownloadError(f"no mirror has {path.name}{failures}")
                    try:
                        _fetch(mirrors[0] + path.name, path, share)
                    except DownloadError as error:
                        failures += f"\n- {mirrors.pop(0)}: {error}"
    except OSError as error:
        raise DownloadError(f"cannot write to the folder {folder}: {error}") from error


def _fetch(url, path, patience):
    """Fetch one file, or give up after `patience` seconds without a kilobyte."""

    def receive():
        try:
            get(url, file, None)
        except Exception as error:  # whatever it is, the next mirror may do better
            errors.append(repr(error).split("Caused by ")[-1][:200])

    size, errors, seen, last = OFFICIAL[path.name][0], [], 0, monotonic()
    scratch = TemporaryDirectory(prefix=".partial-", dir=path.parent)
    bar = tqdm(desc=path.name, total=size, file=sys.stdout, unit="B", unit_scale=True)
    get = pooch.HTTPDownloader(bar, headers={"Accept-Encoding": "identity"})
    with bar, scratch, open(Path(scratch.name, path.name), "wb") as file:
        # A name look-up knows no timeout; a thread left behind finds its file closed.
        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            got = os.fstat(file.fileno()).st_size
            if got >= seen + 1024:
                seen, last = got, monotonic()
            if got > size:
                raise DownloadError(f"it sends more than the official {size:,} bytes")
            if monotonic() > last + patience:
                raise DownloadError(f"no data for {patience:.1f} s")
        file.close()
        if errors or not _is_official(Path(file.name)):
            raise DownloadError(*errors or ["checksum mismatch, not the official file"])
        os.replace(file.name, path)
