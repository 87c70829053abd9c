"""Artifacts from a real server: fetched once, unpacked where they are wanted, and never anywhere else."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.archives import Limits
from reconciler.executors.artifacts import Artifacts, _held
from reconciler.executors.downloads import shown
from reconciler.executors.interface import Keep, StartCancelled, Swept
from tests.support.endless_server import EndlessServer
from tests.support.wait import wait_until


class Server:
    """Serves what a test puts into ``files``, with entity tags, and remembers what was asked.

    ``cuts``: after how many bytes the next answers break off.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: list[tuple[str, int]] = []
        self.cuts: list[int] = []
        self.sent = 0
        self.knows_ranges = self.heeds_if_range = self.knows_tags = True
        self.fail_with = 0
        self.authorization: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.authorization = self.headers.get("Authorization")
                path, _, _ = self.path.partition("?")
                body = outer.files.get(path)
                if path.startswith("/moved"):
                    self._answer(302, b"", Location=path.removeprefix("/moved"))
                elif outer.fail_with:
                    self._answer(outer.fail_with, b"trouble")
                elif body is None:
                    self._answer(404, b"")
                else:
                    tag = f'"{hashlib.sha256(body).hexdigest()}"'
                    said = {"ETag": tag} if outer.knows_tags else {"Last-Modified": f"day {len(body)}"}
                    wanted = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
                    if self.headers.get("If-None-Match") == tag:
                        self._answer(304, b"")
                    elif (
                        wanted
                        and outer.knows_ranges
                        and (self.headers.get("If-Range") in said.values() or not outer.heeds_if_range)
                    ):
                        start = int(wanted)
                        where = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                        self._answer(206, body[start:], **said, **where)
                    else:
                        self._answer(200, body, **said)

            def _answer(self, status: int, body: bytes, **headers: str) -> None:
                outer.answers.append((self.path, status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                body = body[: outer.cuts.pop(0)] if outer.cuts and body else body
                outer.sent += len(body)
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the standard library
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    limits = Limits(download_bytes=1_000_000, unpacked_bytes=2_000_000, files=50, time_s=60)
    return Artifacts(tmp_path / "artifacts", limits)


def tar(*members: tuple[str, bytes | str, int], compress: Callable[[bytes], bytes] = bytes) -> bytes:
    """A tar of files (bytes) and links (text)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, mode in members:
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return compress(buffer.getvalue())


def zipped(*members: tuple[str, bytes, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, mode in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_a_plain_file_becomes_executable_under_its_name(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    server.files["/tool%20v1"] = b"#!/bin/sh\necho hi\n"
    url = f"{server.url}/tool%20v1?token=secret"
    artifacts.fetch(url)
    artifacts.place(url, tmp_path / "bin")
    assert listing(tmp_path / "bin") == {"tool v1"}
    assert stat.S_IMODE((tmp_path / "bin/tool v1").stat().st_mode) == 0o755


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_an_archive_is_unpacked(server: Server, artifacts: Artifacts, tmp_path: Path, suffix: str) -> None:
    members = (("app/run", b"#!/bin/sh\n", 0o755), ("app/data.txt", b"data", 0o640))
    if suffix == ".zip":
        server.files[f"/app{suffix}"] = zipped(*members)
    else:
        server.files[f"/app{suffix}"] = tar(*members, compress=gzip.compress if "gz" in suffix else bytes)
    (tmp_path / "to/app").mkdir(parents=True)
    (tmp_path / "to/app/mine").write_text("stays")
    artifacts.place(f"{server.url}/app{suffix}", tmp_path / "to")
    assert listing(tmp_path / "to") == {"app/run", "app/data.txt", "app/mine"}
    assert os.access(tmp_path / "to/app/run", os.X_OK)
    assert not os.access(tmp_path / "to/app/data.txt", os.X_OK)


def test_what_did_not_change_is_not_sent_again(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    server.files["/tool"] = b"one"
    url = f"{server.url}/tool"
    artifacts.fetch(url)
    artifacts.fetch(url)
    artifacts.place(url, tmp_path / "bin")
    assert server.answers == [("/tool", 200), ("/tool", 304)]
    server.files["/tool"] = b"two"
    artifacts.fetch(url)
    artifacts.place(url, tmp_path / "bin")
    assert (tmp_path / "bin/tool").read_bytes() == b"two"


def test_the_kept_download_serves_while_the_server_is_away(
    server: Server, artifacts: Artifacts, tmp_path: Path
) -> None:
    server.files["/tool"] = b"one"
    url = f"{server.url}/tool"
    artifacts.fetch(url)
    server.fail_with = 503
    artifacts.fetch(url)
    artifacts.place(url, tmp_path / "bin")
    assert (tmp_path / "bin/tool").read_bytes() == b"one"


def test_a_download_that_is_cut_is_gone_on_with(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    server.files["/tool"] = os.urandom(600_000)
    server.cuts = [250_000, 100_000]
    url = f"{server.url}/tool"
    artifacts.place(url, tmp_path / "bin")
    assert (tmp_path / "bin/tool").read_bytes() == server.files["/tool"]
    assert [status for _, status in server.answers] == [200, 206, 206]
    assert server.sent == 600_000, "nothing was sent twice"
    artifacts.fetch(url)
    assert server.answers[-1] == ("/tool", 304)


@pytest.mark.parametrize(
    "what",
    [
        "the same file",
        "another file",
        "another file, carelessly",
        "another file, by its date alone, carelessly",
        "a server without ranges",
    ],
)
def test_the_next_agent_goes_on_with_a_download_if_it_is_still_of_the_same_file(
    server: Server, artifacts: Artifacts, tmp_path: Path, what: str
) -> None:
    server.files["/tool"] = os.urandom(600_000)
    server.knows_tags = "by its date" not in what
    server.cuts = [250_000, 0]
    url = f"{server.url}/tool"
    with pytest.raises(ExecutorError, match="cannot fetch"):
        artifacts.fetch(url)
    if what.startswith("another file"):
        server.files["/tool"] = os.urandom(500_000)
    server.heeds_if_range = not what.endswith("carelessly")
    server.knows_ranges = what != "a server without ranges"
    server.answers.clear()
    following = Artifacts(tmp_path / "artifacts")
    following.fetch(url)
    following.place(url, tmp_path / "bin")
    assert (tmp_path / "bin/tool").read_bytes() == server.files["/tool"]
    assert server.answers[-1] == ("/tool", 206 if what == "the same file" else 200)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["nothing", "a head without a length"])
def test_one_that_is_cancelled_makes_way_at_once_though_its_server_is_silent(
    endless_server: EndlessServer, artifacts: Artifacts, tmp_path: Path, said: bytes
) -> None:
    endless_server.silent_after = said
    url = f"http://{endless_server.hostport}/tool"
    with pytest.raises(StartCancelled):
        artifacts.fetch(url, is_cancelled=endless_server.asked.is_set)
    endless_server.silent_after, endless_server.content = None, b"whole"
    again = threading.Thread(target=artifacts.place, args=(url, tmp_path), daemon=True)
    again.start()
    wait_until(lambda: not again.is_alive(), what="the next start has its artifact")
    assert (tmp_path / "tool").read_bytes() == b"whole"


def test_one_that_is_cancelled_is_not_copied_to_its_end(artifacts: Artifacts, tmp_path: Path) -> None:
    source, into, asked = tmp_path / "data", tmp_path / "into", iter([False, True])
    source.write_bytes(b"x" * 900_000)
    with pytest.raises(StartCancelled):
        artifacts.place(source.as_uri(), into, is_cancelled=lambda: next(asked))
    assert listing(into) == set()


def test_with_a_sha256_only_that_content_is_placed(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    old, new = b"old", b"new"
    wanted = hashlib.sha256(new).hexdigest()
    server.files["/tool"] = old
    url = f"{server.url}/tool"
    with pytest.raises(
        ExecutorError, match=f"its SHA-256 is {hashlib.sha256(old).hexdigest()}, not {wanted}"
    ) as caught:
        artifacts.fetch(url, wanted)
    assert not caught.value.permanent
    with pytest.raises(ExecutorError, match="SHA-256"):
        artifacts.place(url, tmp_path / "bin", wanted)
    assert listing(tmp_path / "bin") == set()
    server.files["/tool"] = new
    artifacts.fetch(url, wanted.upper())
    artifacts.place(url, tmp_path / "bin", wanted)
    assert (tmp_path / "bin/tool").read_bytes() == new


def test_what_has_its_sha256_is_never_asked_for_again(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    url = f"{server.url}/tool"
    versions = [b"one", b"two"]
    for content in versions:
        server.files["/tool"] = content
        artifacts.fetch(url, hashlib.sha256(content).hexdigest())
    server.fail_with = 404
    server.answers.clear()
    for content in versions:
        artifacts.fetch(url, hashlib.sha256(content).hexdigest())
        artifacts.place(url, tmp_path / "bin", hashlib.sha256(content).hexdigest())
        assert (tmp_path / "bin/tool").read_bytes() == content
    assert server.answers == []


def test_a_kept_download_that_lost_its_content_is_fetched_anew(
    server: Server, artifacts: Artifacts, tmp_path: Path
) -> None:
    url, wanted = f"{server.url}/tool", hashlib.sha256(b"whole").hexdigest()
    server.files["/tool"] = b"whole"
    artifacts.fetch(url, wanted)
    (artifacts._kept(url, wanted) / "data").write_bytes(b"")
    artifacts.place(url, tmp_path / "bin", wanted)
    assert (tmp_path / "bin/tool").read_bytes() == b"whole"


def test_a_file_of_this_host_must_have_its_sha256_too(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"one")
    url = f"file://{tmp_path}/tool"
    artifacts.fetch(url, hashlib.sha256(b"one").hexdigest())
    (tmp_path / "tool").write_bytes(b"two")
    with pytest.raises(ExecutorError, match="SHA-256"):
        artifacts.place(url, tmp_path / "bin", hashlib.sha256(b"one").hexdigest())


def test_a_download_that_many_want_at_once_is_whole(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    server.files["/tool"] = os.urandom(500_000)
    url = f"{server.url}/tool"
    with ThreadPoolExecutor(8) as threads:
        agents = [artifacts, Artifacts(tmp_path / "artifacts")]  # of one machine, which share their downloads
        list(threads.map(lambda number: agents[number % 2].fetch(url), range(8)))
        list(threads.map(lambda _: artifacts.place(url, tmp_path / "bin"), range(8)))
    assert (tmp_path / "bin/tool").read_bytes() == server.files["/tool"]
    assert [status for _, status in server.answers].count(200) == 1
    assert listing(tmp_path / "bin") == {"tool"}


@pytest.mark.parametrize(
    ("status", "permanent"), [(404, True), (403, True), (401, True), (429, False), (500, False), (503, False)]
)
def test_what_the_server_refuses_is_told(server: Server, artifacts: Artifacts, status: int, permanent: bool) -> None:
    server.fail_with = status
    with pytest.raises(ExecutorError, match=f"the server answered {status}") as caught:
        artifacts.fetch(f"{server.url}/tool")
    assert caught.value.permanent is permanent


def test_a_server_that_is_not_there_is_tried_again_later(artifacts: Artifacts) -> None:
    with pytest.raises(ExecutorError, match=r"cannot fetch http://127\.0\.0\.1:1/tool") as caught:
        artifacts.fetch("http://user:secret@127.0.0.1:1/tool?token=secret")
    assert not caught.value.permanent
    assert "secret" not in str(caught.value)


def test_a_password_is_sent_but_never_shown(server: Server, artifacts: Artifacts) -> None:
    server.files["/tool"] = b"one"
    artifacts.fetch(server.url.replace("http://", "http://user:p%40ss@") + "/tool")
    assert server.authorization == "Basic dXNlcjpwQHNz"
    assert shown("https://user:secret@example.com:8443/a/b?token=secret") == "https://example.com:8443/a/b"


def test_a_redirect_is_followed(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    server.files["/tool"] = b"one"
    artifacts.place(f"{server.url}/moved/tool", tmp_path)
    assert (tmp_path / "tool").read_bytes() == b"one"


def test_a_file_of_this_host_is_copied(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "a b.tar").write_bytes(tar(("inside", b"data", 0o644)))
    url = f"file://{tmp_path}/a%20b.tar"
    artifacts.fetch(url)
    artifacts.place(url, tmp_path / "to")
    assert listing(tmp_path / "to") == {"inside"}


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/x", "http:///x", "file:///no/such/file", "file://host/etc/hostname", "http://[bad/x", "x.tar"],
)
def test_what_is_no_url_of_ours_is_a_permanent_error(artifacts: Artifacts, url: str) -> None:
    with pytest.raises(ExecutorError) as caught:
        artifacts.fetch(url)
    assert caught.value.permanent


HOSTILE = {
    "a name that climbs": tar(("../escaped", b"x", 0o644)),
    "a name that climbs later": tar(("a/../../escaped", b"x", 0o644)),
    "an absolute name": tar(("/escaped", b"x", 0o644)),
    "a link that climbs": tar(("a/link", "../../escaped", 0o777)),
    "an absolute link": tar(("link", "/etc", 0o777)),
    "a file through a link": tar(("sub/a", b"", 0o644), ("link", "sub", 0o777), ("link/escaped", b"x", 0o644)),
    "more than may come out": tar(("zeros", bytes(3_000_000), 0o644)),
    "more files than may be": tar(*((f"f{number}", b"", 0o644) for number in range(60))),
    "no archive at all": b"no archive at all",
    "cut short": tar(("a", os.urandom(5000), 0o644))[:3000],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_tar_leaves_nothing_anywhere(server: Server, artifacts: Artifacts, tmp_path: Path, what: str) -> None:
    server.files["/a.tar.gz"] = gzip.compress(HOSTILE[what])
    with pytest.raises(ExecutorError) as caught:
        artifacts.place(f"{server.url}/a.tar.gz", tmp_path / "deep/to")
    assert caught.value.permanent
    assert listing(tmp_path / "deep") == set()
    assert not list(tmp_path.rglob("*escaped*"))


def test_devices_and_pipes_are_refused(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("pipe")
        entry.type = tarfile.FIFOTYPE
        archive.addfile(entry)
    server.files["/a.tar"] = buffer.getvalue()
    with pytest.raises(ExecutorError, match="device or pipe"):
        artifacts.place(f"{server.url}/a.tar", tmp_path / "to")


def test_a_header_of_a_hundred_megabytes_is_refused(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, 100_000_000
    server.files["/a.tar.gz"] = gzip.compress(entry.tobuf() + bytes(100_000_000), 9)
    with pytest.raises(ExecutorError, match="header") as caught:
        artifacts.place(f"{server.url}/a.tar.gz", tmp_path / "to")
    assert caught.value.permanent


def test_set_user_id_and_foreign_write_bits_do_not_come_along(
    server: Server, artifacts: Artifacts, tmp_path: Path
) -> None:
    server.files["/a.tar"] = tar(("tool", b"x", 0o6777))
    artifacts.place(f"{server.url}/a.tar", tmp_path)
    assert stat.S_IMODE((tmp_path / "tool").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped"])
def test_a_hostile_zip_leaves_nothing_anywhere(server: Server, artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    server.files["/a.zip"] = zipped((name, b"x", 0o644))
    with pytest.raises(ExecutorError, match="not safe"):
        artifacts.place(f"{server.url}/a.zip", tmp_path / "deep/to")
    assert not list(tmp_path.rglob("*escaped*"))


def test_links_in_a_zip_stay_inside(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    link = stat.S_IFLNK | 0o777
    server.files["/good.zip"] = zipped(("lib/a.1", b"x", 0o644), ("lib/a", b"a.1", link))
    artifacts.place(f"{server.url}/good.zip", tmp_path / "to")
    assert (tmp_path / "to/lib/a").readlink() == Path("a.1")
    server.files["/bad.zip"] = zipped(("lib/a", b"../../../etc", link))
    with pytest.raises(ExecutorError, match="outside"):
        artifacts.place(f"{server.url}/bad.zip", tmp_path / "to")


def test_too_big_a_download_is_given_up(server: Server, artifacts: Artifacts) -> None:
    server.files["/tool"] = bytes(1_500_000)
    with pytest.raises(ExecutorError, match="bigger than 1000000 bytes") as caught:
        artifacts.fetch(f"{server.url}/tool")
    assert caught.value.permanent


def test_what_a_killed_agent_left_half_done_is_swept_away(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    old, new = tmp_path / "to/.reconciler-artifact-old", tmp_path / "to/.reconciler-artifact-new"
    for left in (old, new):
        left.mkdir(parents=True)
    os.utime(old, (1, 1))
    server.files["/tool"] = b"x"
    artifacts.place(f"{server.url}/tool", tmp_path / "to")
    assert not old.exists()
    assert new.exists()


DAY_S = 86_400.0
KEEP = Keep(downloads_s=7 * DAY_S, download_bytes=10_000_000)


def aged(artifacts: Artifacts, server: Server, name: str, days: float, size: int = 1) -> str:
    """A download that was last used so long ago."""
    server.files[f"/{name}"] = b"x" * size
    url = f"{server.url}/{name}"
    artifacts.fetch(url)
    at = time.time() - days * DAY_S
    os.utime(artifacts._kept(url, ""), (at, at))
    return url


def kept(artifacts: Artifacts, *urls: str) -> list[bool]:
    return [(artifacts._kept(url, "") / "data").exists() for url in urls]


def test_downloads_go_when_nobody_used_them_for_long(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    old, wanted, used, young = (
        aged(artifacts, server, name, days) for name, days in (("old", 8), ("wanted", 8), ("used", 8), ("young", 6))
    )
    artifacts.place(used, tmp_path / "bin")
    swept = artifacts.sweep(KEEP, [(wanted, "")], time.time())
    assert kept(artifacts, old, wanted, used, young) == [False, True, True, True]
    assert swept.count == 1
    assert swept.size > 0
    assert artifacts.sweep(KEEP, [], time.time()) == Swept(), "who wanted it has a use for it, whichever agent asks"


def test_too_many_bytes_go_the_longest_unused_first(server: Server, artifacts: Artifacts) -> None:
    urls = [aged(artifacts, server, f"file-{days}", days, 500_000) for days in (3, 2, 1, 0)]
    keep = Keep(downloads_s=7 * DAY_S, download_bytes=1_100_000)
    artifacts.sweep(keep, [(urls[0], "")], time.time())
    assert kept(artifacts, *urls) == [True, False, False, True], "never what is wanted, nor what was just used"


def test_a_deletion_that_was_cut_off_is_completed(server: Server, artifacts: Artifacts, tmp_path: Path) -> None:
    url = aged(artifacts, server, "file", 1)
    folder = artifacts._kept(url, "")
    folder.rename(folder.with_name(f"{folder.name}.gone"))
    assert artifacts.sweep(KEEP, [], time.time()).count == 1
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_download_under_way_is_not_deleted(server: Server, artifacts: Artifacts) -> None:
    url = aged(artifacts, server, "file", 8)
    with _held(artifacts._kept(url, "")):
        assert artifacts.sweep(KEEP, [], time.time()) == Swept()
    assert kept(artifacts, url) == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights that others want")
@pytest.mark.parametrize("where", ["in the folder", "on the way there"])
def test_links_of_others_lead_root_nowhere(artifacts: Artifacts, tmp_path: Path, where: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "app/conf").symlink_to(tmp_path / "etc")
    (tmp_path / "app.tar").write_bytes(tar(("conf/evil", b"x", 0o644)))
    destination = tmp_path / ("app" if where == "in the folder" else "app/conf/sub")
    url = f"file://{tmp_path}/app.tar"
    os.chown(tmp_path / "app", 65534, 65534)
    with pytest.raises(ExecutorError, match="conf is a link that somebody else may have made"):
        artifacts.place(url, destination)
    assert list((tmp_path / "etc").iterdir()) == []
    assert [each.name for each in (tmp_path / "app").iterdir()] == ["conf"]
    os.chown(tmp_path / "app", 0, 0)
    artifacts.place(url, destination)
    assert list((tmp_path / "etc").rglob("evil")) != [], "the operator's own link is followed"
