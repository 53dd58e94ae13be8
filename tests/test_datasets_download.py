"""Downloads of utils.datasets, from servers of good and bad character on loopback.

Folders that cannot be written to are paths below a regular file: the tests may run
as root, whom no permission bit stops. Silence is measured by a clock of the tests' own,
which servers move, so that no machine is too busy for them.
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
from utils.standins import make_standin

import numpy as np
import pytest
import requests  # noqa: F401 (pooch imports it late, which is no silence of a host)

LIMIT = datasets.SILENCE_LIMIT
TICK = LIMIT / 16
NAMES = [name for pair in datasets.FILES["mnist"].values() for name in pair]


def make_file(name):
    shape = (9, 28, 28) if "images" in name else (9,)
    array = np.random.default_rng(0).integers(10, size=shape, dtype=np.uint8)
    head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    return gzip.compress(head + array.tobytes(), mtime=0)


FILES = {name: make_file(name) for name in NAMES}
ROWS = {n: (len(b), f"md5:{hashlib.md5(b).hexdigest()}") for n, b in FILES.items()}
BAD = {  # characters of servers, and what is told of them
    "hanging": "no data for",
    "dripping": "no data for",
    "stalling": "no data for",
    "cut_off": "IncompleteRead",
    "forbidding": "403",
    "lying": "checksum mismatch",
    "endless": "more than the official",
}


class Clock:
    """Stands still, but where a server is silent and each look costs a tick."""

    def __init__(self):
        self.now, self.tick, self.looks = 0.0, 0.0, 0

    def __call__(self):
        self.now += self.tick
        self.looks += 1
        return self.now


class Handler(BaseHTTPRequestHandler):
    """Serves FILES the way the server's `character` is."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append(name)
        self.close_connection = True
        with suppress(OSError):  # the client may hang up
            getattr(self, self.server.character)(FILES[name])

    def head(self, header="Connection", value="close"):
        self.send_response(200)
        self.send_header(header, str(value))
        self.end_headers()

    def good(self, body):
        self.head("Content-Length", len(body))
        self.wfile.write(body)

    def steady(self, body):
        """Slower in all than the limit, yet never silent for long."""
        self.head("Content-Length", len(body))
        for i in range(0, len(body), 1024):
            self.server.clock.now += 0.8 * LIMIT
            self.wfile.write(body[i : i + 1024])
            if i + 1024 < len(body):
                self.wait_until_seen(i + 1024)

    def wait_until_seen(self, size):
        """Wait until the client has looked at a file of this size."""
        name, clock = self.path.rsplit("/", 1)[-1], self.server.clock
        while not self.server.over.wait(0.005):
            parts = self.server.folder.glob(f".partial-*/{name}")
            if any(part.stat().st_size >= size for part in parts):
                break
        looks = clock.looks
        while clock.looks < looks + 2 and not self.server.over.wait(0.005):
            pass

    def slow(self, body):
        self.head("Content-Length", len(body))
        for i in range(0, len(body), 1024):
            time.sleep(0.1)
            self.wfile.write(body[i : i + 1024])

    def hanging(self, _):
        self.server.clock.tick = TICK
        self.server.over.wait(60)  # a client that waits fails, not hangs

    def dripping(self, body):
        """Less than a kilobyte in all."""
        self.head("Transfer-Encoding", "chunked")
        self.server.clock.tick = TICK
        for i in range(1000):
            self.wfile.write(b"1\r\n" + body[i : i + 1] + b"\r\n")
            if self.server.over.wait(0.05):
                break

    def stalling(self, body):
        self.cut_off(body)
        self.hanging(body)

    def cut_off(self, body):
        self.head("Content-Length", len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()

    def forbidding(self, _):
        self.send_error(403)

    def lying(self, body):
        self.good(body[:-1] + bytes([body[-1] ^ 1]))

    def endless(self, _):
        self.head()
        for _ in range(10_000):
            self.wfile.write(b"x" * 4096)
            if self.server.over.wait(0.005):
                break

    def only_images(self, body):
        (self.good if len(body) > 200 else self.hanging)(body)


@contextmanager
def serving(character, clock, folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.character, server.asked, server.over = character, [], threading.Event()
    server.clock, server.folder = clock, folder
    server.url = f"http://127.0.0.1:{server.server_address[1]}/mnist/"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def clock(monkeypatch):
    clock, fetch = Clock(), datasets._fetch

    def fetch_anew(*arguments):
        clock.tick = 0.0  # what the last mirror did is no silence of this one
        return fetch(*arguments)

    monkeypatch.setattr(datasets, "monotonic", clock)
    monkeypatch.setattr(datasets, "_fetch", fetch_anew)
    return clock


@pytest.fixture
def mirrors(monkeypatch, clock, tmp_path):
    """Start servers of the given characters and make them the only mirrors."""
    for name in "VI_OFFLINE", "VI_DATA", "http_proxy", "HTTP_PROXY", "all_proxy":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(datasets, "OFFICIAL", ROWS)
    small = {"train": 2, "test": 2}
    monkeypatch.setattr(datasets, "make_standin", lambda s, _: make_standin(s, small))
    with ExitStack() as stack:

        def start(*characters):
            servers = [
                stack.enter_context(serving(c, clock, tmp_path)) for c in characters
            ]
            urls = tuple(server.url for server in servers)
            monkeypatch.setitem(datasets.MIRRORS, "mnist", urls)
            return servers

        yield start


def left_in(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def assert_whole(folder):
    assert left_in(folder) == sorted(NAMES)
    assert all((folder / name).read_bytes() == body for name, body in FILES.items())


@pytest.mark.parametrize("source", ["download", "auto"])
def test_good_server(mirrors, tmp_path, capsys, source, monkeypatch):
    (server,) = mirrors("good")
    monkeypatch.setenv("VI_DATA", str(tmp_path / "deep"))
    mnist = load_mnist(source=source)
    assert mnist.source == "download" and mnist.notice == ""
    text = "MNIST, download: 9 training and 9 test images, the official files."
    assert mnist.description == text
    assert_whole(tmp_path / "deep" / "mnist")
    shown, errors = capsys.readouterr()
    assert errors == "" and NAMES[0] in shown and "100%" in shown
    (tmp_path / "deep" / "mnist" / NAMES[2]).unlink()
    load_mnist(source=source)
    assert server.asked == [*NAMES, NAMES[2]], "only missing files are fetched"


def test_slow_but_steady_server_is_waited_for(mirrors, tmp_path, clock):
    mirrors("steady")
    load_mnist(tmp_path, "download")
    assert clock.now > 2 * LIMIT, "too fast to show anything"
    assert_whole(tmp_path)


@pytest.mark.parametrize("bad, problem", BAD.items())
def test_bad_server(mirrors, tmp_path, bad, problem, capsys, clock):
    (server,) = mirrors(bad)
    with pytest.raises(DownloadError, match=problem) as caught:
        load_mnist(tmp_path, "download")
    silence = LIMIT if problem == "no data for" else 0.0
    assert silence <= clock.now <= silence + 2 * TICK
    assert server.url in str(caught.value) and NAMES[0] in str(caught.value)
    assert left_in(tmp_path) == []
    assert capsys.readouterr().err == ""
    first, _ = mirrors(bad, "good")
    load_mnist(tmp_path, "download")
    assert_whole(tmp_path)
    assert first.asked == NAMES[:1], "a mirror that failed is not asked again"


def test_auto_falls_back_and_tells_of_every_mirror(mirrors, tmp_path, capsys, clock):
    servers = mirrors("hanging", "forbidding", "only_images", "hanging")
    mnist = load_mnist(tmp_path)
    assert clock.now <= LIMIT, "silence adds up: mirrors and files"
    assert mnist.source == "standin" and left_in(tmp_path) == NAMES[:1]
    shown, errors = capsys.readouterr()
    assert errors == "" and "STAND-IN DATA, not MNIST" in shown
    assert f"- {servers[1].url}: HTTPError('403" in shown
    assert all(
        f"- {servers[i].url}: no data for {LIMIT / 4:.1f} s" in shown for i in (0, 2, 3)
    )


def test_name_look_up_that_never_ends(mirrors, tmp_path, monkeypatch, clock):
    mirrors()
    datasets.MIRRORS["mnist"] = ("http://slow.invalid/",)
    over = threading.Event()

    def look_up(*_, **__):
        clock.tick = TICK
        over.wait(60)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(DownloadError, match=r"slow\.invalid.*no data for"):
        load_mnist(tmp_path, "download")
    over.set()
    assert LIMIT <= clock.now <= LIMIT + 2 * TICK
    assert left_in(tmp_path) == []


def test_unreachable_host(mirrors, tmp_path):
    mirrors()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        datasets.MIRRORS["mnist"] = (f"http://127.0.0.1:{closed.getsockname()[1]}/",)
    with pytest.raises(DownloadError, match="refused"):
        load_mnist(tmp_path, "download")


@pytest.mark.parametrize("source", ["download", "auto"])
def test_files_of_ones_own_are_not_overwritten(mirrors, tmp_path, source):
    mirrors("good")
    (tmp_path / NAMES[1]).write_bytes(b"mine")
    told = f"not the official files, move them from {tmp_path}: {NAMES[1]}$"
    with pytest.raises(DatasetError, match=told):
        load_mnist(tmp_path, source)
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
    with pytest.raises(DownloadError, match=f"cannot write to the folder {folder}"):
        load_mnist(folder, "download")
    assert load_mnist(folder).source == "standin"
    assert "cannot write" in capsys.readouterr().out
    assert server.asked == []


@pytest.mark.parametrize("source", ["local", "auto", "download"])
def test_a_full_read_only_folder_can_be_read(mirrors, tmp_path, monkeypatch, source):
    mirrors("forbidding")
    for name, body in FILES.items():
        (tmp_path / name).write_bytes(body)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert load_mnist(tmp_path, source).train_images.shape == (9, 28, 28)


def kernel(folder, url, gate, answers):
    """One of two processes that want the same data at the same time."""
    datasets.MIRRORS["mnist"] = (url,)
    datasets.OFFICIAL.update(ROWS)
    gate.wait(300)
    try:
        answers.put(load_mnist(folder, "download").source)
    except Exception as error:
        answers.put(repr(error))


def test_two_kernels_at_once(mirrors, tmp_path):
    (server,) = mirrors("slow")
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    job = {"target": kernel, "args": (tmp_path, server.url, gate, answers)}
    kernels = [context.Process(**job) for _ in range(2)]
    for process in kernels:
        process.start()
    assert [answers.get(timeout=300) for _ in kernels] == ["download"] * 2
    for process in kernels:
        process.join()
    assert server.asked == NAMES, "the second kernel waits and finds the files"
    assert_whole(tmp_path)
