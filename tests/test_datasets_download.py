"""Downloads of utils.datasets, from servers of good and bad character on loopback.

Folders that cannot be written to are paths below a regular file: the tests may run
as root, whom no permission bit stops.
"""

import gzip
import hashlib
import multiprocessing
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from utils import datasets
from utils.datasets import DatasetError, DownloadError, load_mnist

import numpy as np
import pytest

LIMIT = 0.9  # seconds of silence in these tests, for the 15 of the module
NAMES = [name for pair in datasets.FILES["mnist"].values() for name in pair]


def make_files():
    rng, files = np.random.default_rng(0), {}
    for name in NAMES:
        shape = (9, 28, 28) if "images" in name else (9,)
        array = rng.integers(10, size=shape, dtype=np.uint8)
        head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        files[name] = gzip.compress(head + array.tobytes(), mtime=0)
    return files


FILES = make_files()
BAD = {  # characters of servers, and what is told of them
    "hanging": "no data for",
    "dripping_whole": "no data for",
    "dripping_chunks": "no data for",
    "stalling": "no data for",
    "cut_off": "IncompleteRead",
    "cut_off_unsized": "checksum mismatch",
    "forbidding": "403",
    "lying": "checksum mismatch",
    "wrong": "checksum mismatch",
    "endless": "more than the official",
}


class Handler(BaseHTTPRequestHandler):
    """Serves FILES the way the server's `character` is."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append(name)
        with suppress(OSError):  # the client may hang up
            getattr(self, self.server.character)(FILES[name])

    def head(self, length=None):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def good(self, body):
        self.head(len(body))
        self.wfile.write(body)

    def steady(self, body):
        """Slower in all than the limit, yet never silent for long."""
        self.head(len(body))
        for i in range(0, len(body), 1024):
            time.sleep(0.2 * LIMIT)
            self.wfile.write(body[i : i + 1024])

    def hanging(self, _):
        self.server.over.wait(20)

    def dripping(self, body, frame=lambda byte: byte):
        for i in range(len(body)):
            if self.server.over.wait(0.05) or i > 100 * LIMIT:
                return  # so that a client that waits fails a test, not hangs it
            self.wfile.write(frame(body[i : i + 1]))

    def dripping_whole(self, body):
        self.head(len(body))
        self.dripping(body)

    def dripping_chunks(self, body):
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.dripping(body, lambda byte: b"1\r\n" + byte + b"\r\n")

    def stalling(self, body):
        self.head(len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.server.over.wait(20)

    def cut_off(self, body):
        self.head(len(body))
        self.wfile.write(body[: len(body) // 2])

    def cut_off_unsized(self, body):
        self.head()
        self.wfile.write(body[: len(body) // 2])

    def forbidding(self, _):
        self.send_error(403)

    def lying(self, _):
        page = b"<!doctype html><title>Sign in to the hotel's network</title>"
        self.head(len(page))
        self.wfile.write(page)

    def wrong(self, body):
        self.good(body[:-1] + bytes([body[-1] ^ 1]))

    def endless(self, _):
        self.head()
        end = time.monotonic() + 4 * LIMIT
        while time.monotonic() < end and not self.server.over.wait(0.001):
            self.wfile.write(b"x" * 4096)

    def only_labels(self, body):
        (self.forbidding if len(body) > 200 else self.good)(body)

    def only_images(self, body):
        (self.good if len(body) > 200 else self.forbidding)(body)


@contextmanager
def serving(character):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.character, server.asked, server.over = character, [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/mnist/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirrors(monkeypatch):
    """Start servers of the given characters and make them the only mirrors."""
    monkeypatch.delenv("VI_OFFLINE", raising=False)
    monkeypatch.delenv("VI_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(datasets, "SILENCE_LIMIT", LIMIT)
    for name, body in FILES.items():
        row = (len(body), "sha256", hashlib.sha256(body).hexdigest())
        monkeypatch.setitem(datasets.OFFICIAL, name, row)
    make = datasets.make_standin
    monkeypatch.setattr(
        datasets,
        "make_standin",
        lambda name, *_: make(name, {"train": 2, "test": 2}, 0),
    )
    with ExitStack() as stack:

        def start(*characters):
            servers = [stack.enter_context(serving(c)) for c in characters]
            urls = tuple(server.url for server in servers)
            monkeypatch.setitem(datasets.MIRRORS, "mnist", urls)
            return servers

        yield start


def left_in(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def assert_whole(folder):
    assert left_in(folder) == sorted(NAMES)
    assert all((folder / name).read_bytes() == body for name, body in FILES.items())


# --------------------------------------------------------------- what goes well


@pytest.mark.parametrize("source", ["download", "auto"])
def test_good_server(mirrors, tmp_path, capsys, source):
    (server,) = mirrors("good")
    folder = tmp_path / "deep" / "mnist"
    mnist = load_mnist(folder, source)
    assert mnist.source == "download" and mnist.notice == ""
    assert f"downloaded to {folder}" in mnist.description
    assert "train 9 images, the official file" in mnist.description
    assert server.asked == NAMES
    assert_whole(folder)
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert f"{NAMES[0]}: {len(FILES[NAMES[0]]):,} bytes from {server.url}" in shown
    assert load_mnist(folder, source).train_images.shape == (9, 28, 28)
    assert server.asked == NAMES, "files that are there are not fetched again"


def test_vi_data_is_where_downloads_land(mirrors, tmp_path, monkeypatch):
    mirrors("good")
    monkeypatch.setenv("VI_DATA", str(tmp_path))
    load_mnist(source="download")
    assert_whole(tmp_path / "mnist")


def test_only_missing_files_are_fetched(mirrors, tmp_path):
    (server,) = mirrors("good")
    for name in NAMES[:3]:
        (tmp_path / name).write_bytes(FILES[name])
    assert load_mnist(tmp_path).source == "download"
    assert server.asked == NAMES[3:]


def test_slow_but_steady_server_is_waited_for(mirrors, tmp_path):
    mirrors("steady")
    start = time.monotonic()
    load_mnist(tmp_path, "download")
    assert time.monotonic() - start > LIMIT, "too fast to show anything"
    assert_whole(tmp_path)


@pytest.mark.parametrize("bad", BAD)
def test_next_mirror_takes_over(mirrors, tmp_path, bad):
    first, _ = mirrors(bad, "good")
    load_mnist(tmp_path, "download")
    assert_whole(tmp_path)
    assert first.asked == NAMES[:1], "a mirror that failed is the last to be asked"


def test_mirrors_complete_each_other(mirrors, tmp_path):
    mirrors("only_labels", "only_images")
    load_mnist(tmp_path, "download")
    assert_whole(tmp_path)


# --------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("bad, problem", BAD.items())
def test_a_bad_server_leaves_nothing_behind(mirrors, tmp_path, bad, problem, capsys):
    (server,) = mirrors(bad)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=problem) as caught:
        load_mnist(tmp_path, "download")
    assert time.monotonic() - start < LIMIT + 1
    assert server.url in str(caught.value) and NAMES[0] in str(caught.value)
    assert left_in(tmp_path) == []
    assert capsys.readouterr().err == ""


def test_auto_falls_back_and_tells_of_every_mirror(mirrors, tmp_path, capsys):
    servers = mirrors("hanging", "forbidding", "lying", "hanging")
    datasets.standin_mnist(1, 1)  # so that no first import is timed
    start = time.monotonic()
    mnist = load_mnist(tmp_path)
    assert time.monotonic() - start < LIMIT + 1, "silence adds up over mirrors"
    assert mnist.source == "standin" and left_in(tmp_path) == []
    shown, errors = capsys.readouterr()
    told = shown.replace("*", " ").split()
    assert errors == "" and "STAND-IN DATA, not MNIST" in shown
    assert all(f"{server.url}:" in told for server in servers)
    assert all(word in " ".join(told) for word in ("no data", "403", "checksum"))


def test_silence_adds_up_over_files(mirrors, tmp_path):
    """Each mirror stalls once, and the second file finds little patience left."""
    mirrors("only_labels", "hanging", "hanging", "only_images")
    start = time.monotonic()
    with pytest.raises(DownloadError, match=NAMES[1]):
        datasets.MIRRORS["mnist"] = datasets.MIRRORS["mnist"][1:]
        load_mnist(tmp_path, "download")
    assert time.monotonic() - start < LIMIT + 1
    assert left_in(tmp_path) == NAMES[:1]


def test_name_look_up_that_never_ends(mirrors, tmp_path, monkeypatch):
    mirrors()
    monkeypatch.setitem(datasets.MIRRORS, "mnist", ("http://slow.invalid/",))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(8))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"slow\.invalid.*no data for"):
        load_mnist(tmp_path, "download")
    assert time.monotonic() - start < LIMIT + 1
    assert left_in(tmp_path) == []


def test_unreachable_host(mirrors, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    mirrors()
    datasets.MIRRORS["mnist"] = (f"http://127.0.0.1:{port}/",)
    with pytest.raises(DownloadError, match=r"refused|Max retries"):
        load_mnist(tmp_path, "download")


def test_a_download_in_vain_harms_no_file(mirrors, tmp_path):
    mirrors("forbidding")
    (tmp_path / NAMES[1]).write_bytes(b"mine")
    with pytest.raises(DownloadError, match="403"):
        load_mnist(tmp_path, "download")
    assert (tmp_path / NAMES[1]).read_bytes() == b"mine"


@pytest.mark.parametrize("source", ["download", "auto"])
def test_files_of_ones_own_are_not_overwritten(mirrors, tmp_path, source):
    mirrors("good")
    (tmp_path / NAMES[1]).write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"not the official.*move it away") as caught:
        load_mnist(tmp_path, source)
    assert str(tmp_path / NAMES[1]) in str(caught.value)
    assert (tmp_path / NAMES[1]).read_bytes() == b"mine"


def test_offline_forbids_downloads(mirrors, tmp_path, monkeypatch):
    (server,) = mirrors("good")
    monkeypatch.setenv("VI_OFFLINE", "1")
    with pytest.raises(DownloadError, match="VI_OFFLINE is set"):
        load_mnist(tmp_path, "download")
    assert load_mnist(tmp_path).source == "standin"
    assert server.asked == []


def test_folder_that_cannot_be_written_to(mirrors, tmp_path, capsys):
    (server,) = mirrors("good")
    (tmp_path / "file").write_text("no folder")
    folder = tmp_path / "file" / "mnist"
    with pytest.raises(DownloadError, match="cannot write to the folder") as caught:
        load_mnist(folder, "download")
    assert str(folder) in str(caught.value)
    assert load_mnist(folder).source == "standin"
    assert "cannot write" in " ".join(capsys.readouterr().out.replace("*", "").split())
    assert server.asked == []


@pytest.mark.parametrize("source", ["local", "auto", "download"])
def test_a_full_read_only_folder_can_be_read(mirrors, tmp_path, monkeypatch, source):
    (server,) = mirrors("good")
    for name, body in FILES.items():
        (tmp_path / name).write_bytes(body)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert load_mnist(tmp_path, source).train_images.shape == (9, 28, 28)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(NAMES)
    assert server.asked == []


# --------------------------------------------------------------- two kernels


def kernel(folder, url, files, gate, answers):
    """One of two processes that want the same data at the same time."""
    datasets.MIRRORS["mnist"] = (url,)
    for name, body in files.items():
        row = (len(body), "sha256", hashlib.sha256(body).hexdigest())
        datasets.OFFICIAL[name] = row
    gate.wait(30)
    try:
        mnist = load_mnist(folder, "download")
        answers.put((mnist.train_images.shape, mnist.source))
    except Exception as error:
        answers.put(repr(error))


def test_two_kernels_at_once(mirrors, tmp_path):
    (server,) = mirrors("steady")
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    kernels = [
        context.Process(
            target=kernel, args=(tmp_path, server.url, FILES, gate, answers)
        )
        for _ in range(2)
    ]
    for process in kernels:
        process.start()
    got = [answers.get(timeout=40) for _ in kernels]
    for process in kernels:
        process.join(20)
    assert got == [((9, 28, 28), "download")] * 2
    assert server.asked == NAMES, "the second kernel waits and finds the files"
    assert_whole(tmp_path)


def test_left_overs_of_a_killed_kernel_are_swept(mirrors, tmp_path):
    mirrors("good")
    (tmp_path / ".partial-abc").mkdir()
    (tmp_path / ".partial-abc" / NAMES[0]).write_bytes(FILES[NAMES[0]][:50])
    load_mnist(tmp_path, "download")
    assert_whole(tmp_path)


def test_an_interrupt_leaves_no_half_file(mirrors, tmp_path, monkeypatch):
    """Ctrl-C in the main thread, while the other still receives."""
    mirrors("stalling")
    pause = threading.Thread.join

    def interrupt(thread, timeout=None):
        pause(thread, 0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr("threading.Thread.join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_mnist(tmp_path, "download")
    monkeypatch.undo()
    assert left_in(tmp_path) == []
