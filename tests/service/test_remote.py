"""Pictures at addresses: from named hosts, and from nowhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from blemish.errors import ImageError, InputError
from blemish.service import remote
from blemish.service.settings import ServiceSettings

asked: list[str] = []


class Camera(BaseHTTPRequestHandler):
    """Answers by the address that it is asked for."""

    def do_GET(self) -> None:
        asked.append(self.path)
        if self.path == "/moved.png":
            self.send_response(302)
            self.send_header("Location", "/part.png")
            self.end_headers()
        elif self.path == "/slow.png":
            self.send_response(200)
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        elif self.path == "/part.png?side=top":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"picture" * 1000)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def host() -> Iterator[str]:
    asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_file_at_a_named_host_comes(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert remote.fetched(f"http://{host}/part.png?side=top#a", {host}) == b"picture" * 1000


def test_nobody_else_is_asked(host: str) -> None:
    port = host.rpartition(":")[2]
    for address in (
        f"http://{host}/part.png",
        f"http://cameras.example@{host}/part.png",
        f"http://{host}#@cameras.example/part.png",
        f"http://{host}\\@cameras.example/part.png",
        f"http://localhost:{port}/part.png",
        "file:///etc/passwd",
        "ftp://cameras.example/part.png",
        "//cameras.example/part.png",
        "http://[cameras.example/part.png",
        "",
    ):
        with pytest.raises(InputError) as caught:
            remote.fetched(address, {"cameras.example"})
        assert not isinstance(caught.value, ImageError)
    assert asked == []


def test_nobody_is_followed_to_another_address(host: str) -> None:
    with pytest.raises(ImageError, match="answers 302"):
        remote.fetched(f"http://{host}/moved.png", {host})
    assert asked == ["/moved.png"]


def test_what_does_not_come_is_said(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="answers 404"):
        remote.fetched(f"http://{host}/other.png", {host})
    with pytest.raises(ImageError, match="cannot be fetched"):
        remote.fetched("http://127.0.0.1:9/part.png", {"127.0.0.1:9"})
    for strange in ("with blank", "smörgås", "\x00"):
        with pytest.raises(ImageError):
            remote.fetched(f"http://{host}/{strange}", {host})
    monkeypatch.setattr(remote, "LONGEST", 0.3)
    began = time.monotonic()
    with pytest.raises(ImageError, match=r"longer than 0\.3 s"):
        remote.fetched(f"http://{host}/slow.png", {host})
    assert time.monotonic() - began < 2
    monkeypatch.setattr(remote, "LARGEST", 6999)
    with pytest.raises(ImageError, match="larger than 6999 bytes"):
        remote.fetched(f"http://{host}/part.png?side=top", {host})


def test_the_port_of_the_scheme_goes_without_saying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LONGEST", 0.2)
    hosts = ServiceSettings(image_hosts="LOCALHOST, 10.0.0.7:8080").image_hosts  # type: ignore[arg-type]
    assert hosts == ("localhost", "10.0.0.7:8080")
    with pytest.raises(ImageError):  # nobody listens there, but it is allowed
        remote.fetched("HTTP://LocalHost:80/part.png", hosts)
    with pytest.raises(InputError, match="IMAGE_HOSTS"):
        remote.fetched("https://localhost:80/part.png", hosts)
