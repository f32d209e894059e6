"""The page that shows frames as they come: over HTTP, in a real browser, and beside a real command."""

import base64
import http.client
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from engines import expected_labels, write_pixel_engine

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import cityscapes
from querydiff_core.live_view import live_view
from querydiff_core.live_view.live_view import WIDEST, LiveView, ShownFrame
from querydiff_core.utils.image_files import read_image, write_image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CERTAIN = (252, 255, 164)
"""The brightest colour of the heat map."""


def shown(color, number=1, label=0, size=(100, 200), total=2):
    """A frame of one colour under one label, half certain."""
    image = np.full((*size, 3), color, np.uint8)
    labels, confidence = np.full(size, label, np.uint8), np.zeros(size, np.uint8)
    confidence[: size[0] // 2] = 255
    facts = {"number": number, "total": total, "condition": "fog", "latency_ms": 42.4, "source": "<b>a&b.mp4"}
    return lambda: ShownFrame(image, labels, confidence, cityscapes(), facts)


def ask(view, after=0):
    with urllib.request.urlopen(f"{view.address}/frame?after={after}", timeout=60) as answer:
        return json.load(answer)


def picture(found, name):
    kind, data = found["pictures"][name].split(",")
    assert kind == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setattr(live_view, "FAREWELL", 0.0)  # nobody comes back
    with LiveView(0) as view:
        yield view


def test_a_frame_is_shown_with_its_overlay_confidence_facts_and_classes(view):
    view.show(shown((200, 100, 0), label=8))
    found = ask(view)
    assert picture(found, "input").shape == (100, 200, 3)
    assert np.abs(picture(found, "input").astype(int) - (200, 100, 0)).max() < 8
    blended = (np.array((200, 100, 0)) + cityscapes().palette[8]) / 2
    assert np.abs(picture(found, "overlay").astype(int) - blended).max() < 8
    heat = picture(found, "confidence").astype(int)
    assert np.abs(heat[10] - CERTAIN).max() < 8
    assert heat[90].max() < 16
    assert found["confident"] == 0.5
    assert found["facts"]["condition"] == "fog"
    assert [c["name"] for c in found["classes"]] == list(cityscapes().names)
    assert [c["share"] for c in found["classes"]] == [float(i == 8) for i in range(19)]
    assert found["classes"][8]["color"] == "#6b8e23"


def test_large_frames_are_drawn_as_small_as_the_page_shows_them(view):
    view.show(shown((0, 0, 0), size=(1080, 1920)))
    assert picture(ask(view), "overlay").shape == (540, WIDEST, 3)


def test_an_engine_without_confidence_gives_two_pictures(view):
    image = np.zeros((32, 64, 3), np.uint8)
    view.show(lambda: ShownFrame(image, image[..., 0], None, cityscapes(), {}))
    found = ask(view)
    assert set(found["pictures"]) == {"input", "overlay"}
    assert found["confident"] is None


def test_a_frame_that_nobody_asks_for_is_never_drawn_and_a_browser_that_comes_late_gets_the_newest(view):
    drawn = []

    def frame(number):
        return lambda: drawn.append(number) or shown((0, 0, 0), number)()

    for number in range(1, 50):
        view.show(frame(number))
    first = ask(view)
    assert first["facts"]["number"] == 49
    for number in range(50, 90):  # the browser is slow meanwhile
        view.show(frame(number))
    second, again = ask(view, first["id"]), ask(view, first["id"])  # and another looks too
    assert second["facts"]["number"] == again["facts"]["number"] == 89
    assert drawn == [49, 89]
    view.end()
    assert ask(view, second["id"]) == {"ended": True}


def test_browsers_that_leave_disturb_nobody(view, capfd):
    large = np.random.default_rng(0).integers(0, 256, (540, 960, 3), np.uint8)
    view.show(lambda: ShownFrame(large, large[..., 0] % 19, large[..., 1], cityscapes(), {"number": 1}))
    for path in ("/", "/frame?after=0", f"/frame?after={10**16}"):  # in the midst of an answer, or waiting for one
        connection = http.client.HTTPConnection(view.address.removeprefix("http://"))
        connection.request("GET", path)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave without goodbye
        connection.close()
    view.show(shown((0, 0, 0), number=2))
    assert ask(view)["facts"]["number"] == 2
    view.end()
    assert capfd.readouterr() == ("", "")


def test_other_paths_and_foreign_names_are_refused(view):
    view.show(shown((0, 0, 0)))
    for path in ("/etc/passwd", "/../page.html", "/frame?after=x", "/frame?after=-1"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(view.address + path)
    foreign = urllib.request.Request(f"{view.address}/frame", headers={"Host": "evil.example:80"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(foreign)


def test_only_this_machine_is_served(view):
    port = int(view.address.rpartition(":")[2])
    with socket.socket() as other:  # another address of this machine
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_a_port_that_is_taken_is_one_sentence(view):
    port = view.address.rpartition(":")[2]
    with pytest.raises(QueryDiffError, match=f"port {port}: Address already in use; give --view-port another port"):
        LiveView(int(port))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(4):
        write_image(folder / f"{index}.png", np.full((64, 128, 3), 40 * index, np.uint8))
    return folder


def segment(photos, engine, output, port):
    command = [sys.executable, "-m", "querydiff_core", "segment", photos, "--model", engine, "--output", output]
    words = [*map(str, command), "--view", "--view-port", str(port)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_segment_shows_its_frames_and_ends_with_the_last_one(photos, tmp_path):
    engine = write_pixel_engine(tmp_path / "slow.onnx", work=400)
    with segment(photos, engine, tmp_path / "out", 0) as process:
        address = process.stdout.readline().removeprefix("Watch at ").strip()
        seen, last = [], 0
        while not seen or not seen[-1].get("ended"):
            with urllib.request.urlopen(f"{address}/frame?after={last}", timeout=60) as answer:
                seen.append(json.load(answer))
            last = seen[-1].get("id", last)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert rest == f"4 files labelled into {tmp_path / 'out'}\n"
    numbers = [each["facts"]["number"] for each in seen[:-1]]
    assert numbers == sorted(set(numbers))
    facts = seen[-2]["facts"]
    assert (facts["number"], facts["total"], facts["source"]) == (4, 4, "3.png")
    assert facts["model"] == "pixel on onnxruntime (cpu)"
    assert facts["latency_ms"] > 0
    assert np.abs(picture(seen[-2], "input").astype(int) - 120).max() < 4
    labels = cv2.imread(str(tmp_path / "out" / "3_label.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, expected_labels(read_image(photos / "3.png")))


def test_segment_on_a_taken_port_labels_nothing(view, photos, tmp_path):
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    port = view.address.rpartition(":")[2]
    with segment(photos, engine, tmp_path / "out", port) as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"error: The page cannot be served on port {port}: Address already in use; give ")
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("end", [b"\n", b"\x03"])  # Enter, Ctrl-C
def test_in_a_terminal_the_page_stays_until_somebody_has_seen_it(photos, tmp_path, end):
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    words = ["segment", photos, "--model", engine, "--output", tmp_path / "out", "--view", "--view-port", 0]
    command = [sys.executable, "-m", "querydiff_core", *map(str, words)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    said = b""
    while b"stays until you press Enter" not in said:
        said += os.read(terminal, 4096)
    address = re.search(r"http://\S+", said.decode())[0]
    with urllib.request.urlopen(f"{address}/frame", timeout=60) as answer:
        assert json.load(answer)["facts"]["number"] == 4
    os.write(terminal, end)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"Traceback" not in said


class Browser:
    """Headless Chromium on one page, spoken to by its DevTools protocol over a pair of pipes."""

    def __init__(self, profile, address):
        quiet = (
            "--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run"
        )
        words = f"--headless --no-sandbox --disable-gpu --disable-dev-shm-usage {quiet} --remote-debugging-pipe".split()
        (read, self._write), (self._read, write) = os.pipe(), os.pipe()
        command = [CHROMIUM, *words, f"--user-data-dir={profile}", "--window-size=1366,900", "about:blank"]
        pipes = f'exec "$0" "$@" 3<&{read} 4>&{write}'  # where Chromium looks for them
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, *command], stderr=subprocess.DEVNULL, pass_fds=(read, write)
        )
        os.close(read)
        os.close(write)
        self._number, self._said, self._session = 0, b"", {}
        target = self("Target.createTarget", url=address)["targetId"]
        self._session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def __call__(self, method, **parameters):
        """Return the result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := json.loads(self._next())).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        """Return the next message: an answer, or an event."""
        while b"\0" not in self._said:
            received = os.read(self._read, 65536)
            assert received, "Chromium has ended"
            self._said += received
        message, self._said = self._said.split(b"\0", 1)
        return message

    def text(self):
        """Return what the page says."""
        return self("Runtime.evaluate", expression="document.body?.innerText ?? ''")["result"].get("value", "")

    def screenshot(self):
        """Return what the page looks like, RGB."""
        png = base64.b64decode(self("Page.captureScreenshot")["data"])
        return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def close(self):
        self._process.terminate()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def browse(tmp_path):
    browsers = []

    def start(address):
        browsers.append(Browser(tmp_path / "profile", address))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_follows_the_frames_to_the_end(view, browse):
    drawn = []

    def first():
        drawn.append(1)
        view.show(last)  # only now: the page must come back for it
        return shown((200, 30, 30), number=1, label=1)()

    def last():
        drawn.append(2)
        view.end()
        return shown((20, 90, 200), number=2, label=13)()

    browser = browse(view.address)
    while "waiting" not in browser.text():
        time.sleep(0.05)
    view.show(first)
    while "the run has ended" not in (text := browser.text()):
        time.sleep(0.05)
    assert drawn == [1, 2]
    for part in ("<b>a&b.mp4", "fog", "2 of 2", "42 ms", "50.0 %", "car\n100.0 %"):
        assert part in text
    screen = browser.screenshot().astype(int)
    blended, swatch = (np.array((20, 90, 200)) + cityscapes().palette[13]) // 2, cityscapes().palette[13]
    for color, pixels in (((20, 90, 200), 60_000), (blended, 250_000), (CERTAIN, 30_000), (swatch, 200)):
        assert (np.abs(screen - color).max(-1) < 8).sum() > pixels
