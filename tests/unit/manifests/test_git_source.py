"""Against real repositories and the real git program."""

import base64
import functools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.errors import SourceError, UsageError
from reconciler.manifests import git_mirror, git_source
from reconciler.manifests.git_remote import git_remote, redact, source_name_of
from reconciler.manifests.git_source import GitSource
from tests.support.git import GitRepository
from tests.support.wait import wait_until

MakeSource = Callable[..., GitSource]


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[MakeSource]:
    made = []

    def make(url: str, *, path: str = "", cache: str = "cache", timeout_s: float = 60.0, **target: str) -> GitSource:
        source = GitSource("web", git_remote(url, **target), cache=tmp_path / cache, path=path, timeout_s=timeout_s)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


@pytest.fixture
def git_commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git commands that our own code starts from now on, by name (GitPython's are not among them)."""
    commands: list[str] = []
    original = subprocess.Popen

    class Recorded(original):  # type: ignore[misc,valid-type]
        def __init__(self, args: list[str], *rest: object, **more: object) -> None:
            commands.append(next(arg for arg in args[2:] if arg != "-c" and "=" not in arg))
            super().__init__(args, *rest, **more)

    monkeypatch.setattr(git_mirror.subprocess, "Popen", Recorded)
    return commands


class TestWhatIsRead:
    def test_every_manifest_at_the_commit_is_read_and_nothing_else(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        commit = repository.commit(
            {
                "web.yml": "a",
                "deep/er/api.YAML": "b",
                "hosts.json": "{}",
                "README.md": "no",
                "reconciler.yaml": "settings",
                ".github/workflow.yml": "no",
                ".hidden.yml": "no",
            },
            message="Add web\n\nand more",
        )
        revision = source_of(repository.url).read()
        assert dict(revision.files) == {
            "web.yml": b"a",
            "deep/er/api.YAML": b"b",
            "hosts.json": b"{}",
            "reconciler.yaml": b"settings",
        }
        assert (revision.id, revision.author, revision.subject) == (commit, "Ann Author", "Add web")
        assert revision.committed_at > 1_600_000_000
        assert not revision.rewritten

    def test_what_is_in_the_work_tree_but_not_committed_does_not_count(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        repository.commit({"web.yml": "committed"})
        repository.write({"web.yml": "edited", "new.yml": "new"})
        assert dict(source_of(str(repository.path)).read().files) == {"web.yml": b"committed"}

    def test_only_what_is_under_the_path_counts(self, repository: GitRepository, source_of: MakeSource) -> None:
        repository.commit({"deploy/prod/web.yml": "p", "deploy/product/web.yml": "no", "web.yml": "no"})
        source = source_of(repository.url, path="/deploy/./prod/")
        assert dict(source.read().files) == {"deploy/prod/web.yml": b"p"}, "named as people know them"
        assert source.location == f"file://{repository.path} deploy/prod/"

    def test_a_branch_a_tag_and_a_commit_can_be_followed(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        first = repository.commit({"web.yml": "1"})
        repository.git("tag", "--annotate", "--message", "one", "v1")
        second = repository.commit({"web.yml": "2"})
        repository.git("checkout", "--quiet", "-b", "feature/x")
        third = repository.commit({"web.yml": "3"})
        assert source_of(repository.url, branch="main").read().id == second
        assert source_of(repository.url, branch="feature/x").read().id == third
        assert source_of(repository.url, tag="v1").read().id == first
        assert source_of(repository.url, commit=first).read().id == first
        assert source_of(repository.url).read().id == third, "HEAD of the repository"

    def test_a_commit_of_its_own_is_asked_for_once(
        self, repository: GitRepository, source_of: MakeSource, git_commands: list[str]
    ) -> None:
        source = source_of(repository.url, commit=repository.commit({"web.yml": "1"}))
        first = source.read()
        git_commands.clear()
        assert source.read() is first
        assert "fetch" not in git_commands

    def test_an_unchanged_commit_is_not_read_again(
        self, repository: GitRepository, source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        first = source.read()
        monkeypatch.setattr(source, "_revision", None)
        assert source.read() is first

    def test_only_changed_files_are_read_again(
        self, repository: GitRepository, source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.commit({f"team-{team}/{name}.yml": f"{team}{name}" for team in "abc" for name in "xyz"})
        source = source_of(repository.url)
        before = source.read()
        read: list[str] = []
        original = source._content
        monkeypatch.setattr(source, "_content", lambda blob, path: read.append(path) or original(blob, path))
        repository.commit({"team-b/y.yml": "changed"})
        after = source.read()
        assert read == ["team-b/y.yml"]
        assert dict(after.files) == dict(before.files) | {"team-b/y.yml": b"changed"}
        assert after.content != before.content

    def test_a_commit_that_changes_nothing_under_the_path_has_the_same_content(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        repository.commit({"deploy/web.yml": "1"})
        source = source_of(repository.url, path="deploy")
        before = source.read()
        repository.commit({"src/main.go": "package main"})
        after = source.read()
        assert after.id != before.id
        assert after.content == before.content

    def test_all_contents_come_through_one_process(
        self, repository: GitRepository, source_of: MakeSource, git_commands: list[str]
    ) -> None:
        repository.commit({f"{number}.yml": str(number) for number in range(300)})
        source = source_of(repository.url)
        git_commands.clear()
        assert len(source.read().files) == 300
        assert len(git_commands) < 10

    def test_empty_files_binary_files_and_large_ones_arrive_byte_by_byte(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        files = {
            "empty.yml": b"",
            "binary.yml": bytes(range(256)) * 40,
            "large.json": b"x" * 3_000_000,
            "crlf.yml": b"\r\n",
        }
        repository.commit(files)
        assert dict(source_of(repository.url).read().files) == files

    def test_odd_names_are_kept_apart_and_shown_printable(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        repository.commit({"größe/日本.yml": "u", 'quo"te\n.yml': "q", "- dash.yml": "d", "-d.yml": "e", "A.yml": "A"})
        blob = repository.git("hash-object", "-w", "--stdin", stdin=b"latin").encode()
        # two names that some file systems take for one
        entry = b"100644 %b\tl\xe4tin.yml\0" % blob + b"100644 %b\ta.yml\0" % blob
        repository.git("update-index", "-z", "--index-info", stdin=entry)
        repository.git("commit", "--quiet", "--message", "a name that is not UTF-8")
        files = source_of(repository.url).read().files
        assert dict(files) == {
            "größe/日本.yml": b"u",
            'quo"te\\n.yml': b"q",
            "- dash.yml": b"d",
            "-d.yml": b"e",
            "A.yml": b"A",
            "a.yml": b"latin",
            r"l\xe4tin.yml": b"latin",
        }

    def test_two_names_that_look_the_same_are_refused(self, repository: GitRepository, source_of: MakeSource) -> None:
        repository.commit({"a\n.yml": "1", "a\\n.yml": "2"})
        with pytest.raises(SourceError, match="both shown as"):
            source_of(repository.url).read()

    def test_a_file_that_is_no_manifest_by_its_size_is_refused_and_others_still_read_after_it_is_gone(
        self, repository: GitRepository, source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(git_source, "MAX_FILE_BYTES", 2_000_000)
        repository.commit({"a.yml": "a", "dump.json": b"x" * 5_000_000, "z.yml": "z"})
        source = source_of(repository.url)
        for _ in range(2):
            with pytest.raises(SourceError, match=r"dump\.json has 4 MiB"):
                source.read()
        repository.commit({"dump.json": None})
        assert dict(source.read().files) == {"a.yml": b"a", "z.yml": b"z"}

    def test_a_repository_that_multiplies_itself_is_refused(
        self, repository: GitRepository, source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(git_source, "MAX_ENTRIES", 10_000)
        blob = repository.git("hash-object", "-w", "--stdin", stdin=b"x")
        tree = repository.git("mktree", stdin=f"100644 blob {blob}\tx.yml\n".encode())
        for _ in range(10):
            tree = repository.git(
                "mktree", stdin="".join(f"040000 tree {tree}\td{number}\n" for number in range(10)).encode()
            )
        repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", "-m", "bomb", tree, stdin=b""))
        with pytest.raises(SourceError, match="more than 10000 files"):
            source_of(repository.url).read()

    def test_folders_without_end_are_refused(self, repository: GitRepository, source_of: MakeSource) -> None:
        blob = repository.git("hash-object", "-w", "--stdin", stdin=b"x")
        tree = repository.git("mktree", stdin=f"100644 blob {blob}\tx.yml\n".encode())
        for _ in range(120):
            tree = repository.git("mktree", stdin=f"040000 tree {tree}\td\n".encode())
        commit = repository.git("commit-tree", "-m", "deep", tree, stdin=b"")
        repository.git("update-ref", "refs/heads/main", commit)
        with pytest.raises(SourceError, match="deep"):
            source_of(repository.url).read()


class TestWhatIsNeverFollowed:
    def test_a_link_in_the_place_of_a_manifest_is_refused_since_its_objects_would_seem_deleted(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        (tmp_path / "outside.yml").write_text("secret")
        repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        source.read()
        (repository.path / "web.yml").unlink()
        (repository.path / "web.yml").symlink_to(tmp_path / "outside.yml")
        repository.commit()
        for _ in range(2):
            with pytest.raises(SourceError, match=r"web\.yml is a symbolic link"):
                source.read()

    def test_links_to_folders_and_submodules_are_passed_over_and_named(
        self, make_repository: Callable[..., GitRepository], source_of: MakeSource, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret.yml").write_text("secret")
        inner, outer = make_repository(), make_repository()
        inner.commit({"inner.yml": "i"})
        outer.commit({"web.yml": "1", "real/api.yml": "2"})
        (outer.path / "linked").symlink_to(tmp_path / "outside")
        (outer.path / "real" / "here").symlink_to("..")
        outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url, "module")
        outer.commit()
        revision = source_of(outer.url).read()
        assert dict(revision.files) == {"web.yml": b"1", "real/api.yml": b"2"}
        assert revision.passed_over == ("linked", "module", "real/here")

    @pytest.mark.parametrize("path", ["linked", "module", "web.yml", "missing", "real/missing"])
    def test_a_path_must_be_a_folder_of_the_repository_itself(
        self, make_repository: Callable[..., GitRepository], source_of: MakeSource, tmp_path: Path, path: str
    ) -> None:
        inner, outer = make_repository(), make_repository()
        inner.commit({"inner.yml": "i"})
        outer.commit({"web.yml": "1", "real/api.yml": "2"})
        (outer.path / "linked").symlink_to("real")
        outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url, "module")
        outer.commit()
        with pytest.raises(SourceError, match=f"has no folder {path}"):
            source_of(outer.url, path=path).read()

    @pytest.mark.parametrize("path", ["..", "a/../../b", "a\nb"])
    def test_a_path_out_of_the_repository_is_refused(self, source_of: MakeSource, path: str) -> None:
        with pytest.raises(UsageError, match="not a path inside a repository"):
            source_of("https://example.org/repo.git", path=path)

    def test_no_hook_and_no_filter_runs(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proof = tmp_path / "ran"
        hooks = tmp_path / "hooks"
        hooks.mkdir()
        for name in ("post-checkout", "post-merge", "reference-transaction", "post-update", "pre-auto-gc"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {proof}\n")
            (hooks / name).chmod(0o755)
        settings = tmp_path / "gitconfig"
        settings.write_text(f'[core]\nhooksPath = {hooks}\n[filter "f"]\nsmudge = touch {proof}; cat\n')
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        repository.commit({".gitattributes": "* filter=f\n", "web.yml": "1"})
        source = source_of(repository.url)
        assert dict(source.read().files) == {"web.yml": b"1"}
        assert not proof.exists()

    def test_it_works_inside_a_hook_whose_variables_point_elsewhere(
        self, make_repository: Callable[..., GitRepository], source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, elsewhere = make_repository(), make_repository()
        here.commit({"web.yml": "here"})
        elsewhere.commit({"web.yml": "elsewhere"})
        monkeypatch.setenv("GIT_DIR", str(elsewhere.path / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(elsewhere.path))
        monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(elsewhere.path / ".git" / "objects"))
        assert dict(source_of(here.url).read().files) == {"web.yml": b"here"}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "url",
        [
            "ext::sh -c touch% /tmp/x",
            "fd::17",
            "testgit::https://example.org/x",
            "--upload-pack=touch /tmp/x",
            "-u",
            "ssh://-oProxyCommand=touch/x",
            "ssh://-l@host/x",
            "-oProxyCommand=touch:x",
            "host:--upload-pack",
            "ftp://example.org/x",
            "https:///x",
            "https://example.org:port/x",
            "https://example.org/a\nb",
            " https://example.org/x",
            "",
        ],
    )
    def test_a_url_that_could_run_something_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError):
            git_remote(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.org/a/b.git",
            "http://127.0.0.1:8080/x",
            "ssh://git@example.org:2222/x",
            "git@example.org:team/repo.git",
            "git://127.0.0.1/x",
            "file:///srv/x",
            "/srv/x",
        ],
    )
    def test_the_usual_urls_are_taken_as_they_are(self, url: str) -> None:
        assert git_remote(url).url == url

    def test_a_relative_path_is_meant_from_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert git_remote("./repo").url == str(tmp_path / "repo")

    @pytest.mark.parametrize(
        "name", ["-x", "--all", "a..b", "a b", "a:b", "+a", "a^", "a~1", "@{-1}", "a.lock", "", "/a", "*"]
    )
    def test_a_name_that_git_could_take_for_more_is_refused(self, name: str) -> None:
        if name != "+a":  # a name like any other behind refs/heads/
            with pytest.raises(UsageError):
                git_remote("https://example.org/x", branch=name)
        with pytest.raises(UsageError):
            git_remote("https://example.org/x", commit=name)

    def test_only_one_thing_can_be_followed(self) -> None:
        with pytest.raises(UsageError, match="give one of"):
            git_remote("https://example.org/x", branch="main", tag="v1")

    def test_the_users_settings_cannot_bring_back_a_transport_that_runs_commands(
        self, source_of: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = tmp_path / "gitconfig"
        settings.write_text(
            f'[protocol "ext"]\nallow = always\n[url "ext::sh -c touch% {tmp_path}/ran "]\ninsteadOf = https://x.invalid/\n'
        )
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        with pytest.raises(SourceError, match="transport 'ext' not allowed"):
            source_of("https://x.invalid/repo").read()
        assert not (tmp_path / "ran").exists()


class TestHistory:
    def test_a_new_commit_follows_and_an_older_one_does_not(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        first = repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        source.read()
        second = repository.commit({"web.yml": "2"})
        assert not source.read().rewritten
        assert source.follows(second, first) is True
        assert source.follows(second, second) is True
        assert source.follows(first, second) is False

    def test_an_earlier_revision_can_be_had_while_the_server_is_away(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        first = repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        source.read()
        second = repository.commit({"web.yml": "2"})
        source.read()
        repository.path.rename(repository.path.with_name("away"))
        old, now = source.at(first), source.at(second)
        assert old is not None
        assert now is not None
        assert (dict(old.files), dict(now.files)) == ({"web.yml": b"1"}, {"web.yml": b"2"})
        assert source.at("0123456789abcdef0123456789abcdef01234567") is None
        assert source.at("sha256:1234") is None

    def test_a_force_push_is_noticed(self, repository: GitRepository, source_of: MakeSource) -> None:
        first = repository.commit({"web.yml": "1"})
        second = repository.commit({"web.yml": "2"})
        source = source_of(repository.url)
        assert source.read().id == second
        repository.git("reset", "--quiet", "--hard", first)
        third = repository.commit({"web.yml": "3"})
        revision = source.read()
        assert (revision.id, revision.rewritten) == (third, True)
        assert source.follows(third, second) is False
        fourth = repository.commit({"web.yml": "4"})
        revision = source.read()
        assert (revision.id, revision.rewritten) == (fourth, False)

    def test_a_moved_tag_is_noticed_after_a_restart_too(self, repository: GitRepository, source_of: MakeSource) -> None:
        first = repository.commit({"web.yml": "1"})
        second = repository.commit({"web.yml": "2"})
        repository.git("tag", "live", second)
        assert source_of(repository.url, tag="live").read().id == second
        repository.git("tag", "--force", "live", first)
        revision = source_of(repository.url, tag="live").read()
        assert (revision.id, revision.rewritten) == (first, True)

    def test_a_copy_that_never_saw_a_dropped_commit_asks_the_server_for_it(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        first = repository.commit({"web.yml": "1"})
        dropped = repository.commit({"web.yml": "2"})
        repository.git("reset", "--quiet", "--hard", first)
        now = repository.commit({"web.yml": "3"})
        source = source_of(repository.url)
        assert source.read().id == now
        assert source.follows(now, dropped) is False

    def test_nothing_is_known_of_a_commit_that_the_server_does_not_have(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        now = repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        source.read()
        assert source.follows(now, "0123456789abcdef0123456789abcdef01234567") is None
        assert source.follows(now, "sha256:not-a-commit") is None


class TestWhatGoesWrong:
    def test_each_cause_has_words_of_its_own(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        with pytest.raises(SourceError, match="has no HEAD"):
            source_of(repository.url).read()
        repository.commit({"web.yml": "1"})
        with pytest.raises(SourceError, match="has no branch nope"):
            source_of(repository.url, branch="nope").read()
        with pytest.raises(SourceError, match="is no git repository"):
            source_of(str(tmp_path / "nowhere")).read()
        with pytest.raises(SourceError, match=r"could not be fetched: .*onnect"):
            source_of("http://127.0.0.1:9/x").read()

    def test_a_failure_keeps_its_words_while_it_lasts(self, source_of: MakeSource) -> None:
        source = source_of("http://127.0.0.1:9/x")
        said = set()
        for _ in range(3):
            with pytest.raises(SourceError) as caught:
                source.read()
            said.add(str(caught.value))
        assert len(said) == 1

    def test_the_server_going_away_and_coming_back_is_survived(
        self, repository: GitRepository, source_of: MakeSource
    ) -> None:
        repository.commit({"web.yml": "1"})
        source = source_of(repository.url)
        source.read()
        away = repository.path.rename(repository.path.with_name("away"))
        with pytest.raises(SourceError):
            source.read()
        away.rename(repository.path)
        second = repository.commit({"web.yml": "2"})
        assert source.read().id == second

    def test_a_server_that_never_answers_is_given_up(self, source_of: MakeSource, silent_server: int) -> None:
        with pytest.raises(SourceError, match="did not end within"):
            source_of(f"git://127.0.0.1:{silent_server}/x", timeout_s=0.1).read()

    def test_closing_ends_a_fetch_that_hangs(self, source_of: MakeSource, silent_server: int) -> None:
        source = source_of(f"git://127.0.0.1:{silent_server}/x", timeout_s=100)
        failed: list[SourceError] = []

        def read() -> None:
            try:
                source.read()
            except SourceError as error:
                failed.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(lambda: source._mirror._running, what="the fetch runs")
        source.close()
        thread.join(20)
        assert failed

    def test_a_corrupted_copy_is_made_again(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        repository.commit({"web.yml": "1", "api.yml": "2"})
        expected = dict(source_of(repository.url).read().files)
        damaged = 0
        for path in (tmp_path / "cache").rglob("*"):
            if path.is_file() and "objects" in path.parts:
                path.chmod(0o600)
                path.write_bytes(b"\0" * 30)
                damaged += 1
        assert damaged
        assert dict(source_of(repository.url).read().files) == expected

    @pytest.mark.parametrize("victim", ["HEAD", "config", "objects", "refs/reconciler/target"])
    def test_a_copy_that_lost_a_part_is_made_again(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path, victim: str
    ) -> None:
        first = repository.commit({"web.yml": "1"})
        source_of(repository.url).read()
        (mirror,) = (tmp_path / "cache").glob("*.git")
        if (mirror / victim).is_dir():
            subprocess.run(["rm", "-r", str(mirror / victim)], check=True)
        else:
            (mirror / victim).write_text("garbage")
        revision = source_of(repository.url).read()
        assert (revision.id, dict(revision.files)) == (first, {"web.yml": b"1"})

    def test_a_broken_copy_is_kept_while_the_server_is_away(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        repository.commit({"web.yml": "1"})
        source_of(repository.url).read()
        (mirror,) = (tmp_path / "cache").glob("*.git")
        (mirror / "config").write_text("garbage")
        away = repository.path.rename(repository.path.with_name("away"))
        with pytest.raises(SourceError):
            source_of(repository.url).read()
        assert mirror.exists()
        assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(
            [mirror.name, mirror.with_suffix(".lock").name]
        )
        away.rename(repository.path)
        assert source_of(repository.url).read().files

    def test_a_lock_left_by_a_killed_git_does_not_block_for_ever(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        repository.commit({"web.yml": "1"})
        source_of(repository.url).read()
        (mirror,) = (tmp_path / "cache").glob("*.git")
        (mirror / "refs" / "reconciler" / "target.lock").touch()
        second = repository.commit({"web.yml": "2"})
        assert source_of(repository.url).read().id == second

    def test_two_processes_may_share_a_cache(self, repository: GitRepository, source_of: MakeSource) -> None:
        repository.commit({f"{number}.yml": str(number) for number in range(50)})
        sources = [source_of(repository.url) for _ in range(4)]
        ids: list[str] = []
        threads = [threading.Thread(target=lambda source=source: ids.append(source.read().id)) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert ids == [repository.head] * 4

    def test_a_cache_that_cannot_be_written_is_said(
        self, repository: GitRepository, source_of: MakeSource, tmp_path: Path
    ) -> None:
        repository.commit({"web.yml": "1"})
        (tmp_path / "file").touch()
        with pytest.raises(SourceError, match="cannot be written"):
            source_of(repository.url, cache="file/cache").read()


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def guarded_server(repository: GitRepository) -> Iterator[tuple[int, list[str]]]:
    """Serves the repository over HTTP to ``ann``, password ``s3cr:et``; the port, and the logins that were tried."""
    tried: list[str] = []

    class Guarded(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Authorization", "").removeprefix("Basic ")
            if login:
                tried.append(base64.b64decode(login).decode())
            if not tried or tried[-1] != "ann:s3cr:et" or not login:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    repository.commit({"web.yml": "guarded"})
    repository.git("update-server-info")
    handler = functools.partial(Guarded, directory=str(repository.path / ".git"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], tried
    server.shutdown()
    thread.join()
    server.server_close()


class TestSecrets:
    def test_a_password_in_the_url_reaches_the_server_and_no_argument_message_or_file(
        self,
        guarded_server: tuple[int, list[str]],
        source_of: MakeSource,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        port, tried = guarded_server
        arguments: list[str] = []
        original = subprocess.Popen

        class Recorded(original):  # type: ignore[misc,valid-type]
            def __init__(self, args: list[str], *rest: object, **more: object) -> None:
                arguments.extend(args)
                super().__init__(args, *rest, **more)

        monkeypatch.setattr(git_mirror.subprocess, "Popen", Recorded)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        # what git itself hands to its helpers is shown by its own trace
        monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
        source = source_of(f"http://ann:s3cr%3Aet@127.0.0.1:{port}/")
        assert dict(source.read().files) == {"web.yml": b"guarded"}
        assert "ann:s3cr:et" in tried
        assert arguments
        shown = [*arguments, source.location, repr(source._remote), (tmp_path / "trace").read_text()]
        stored = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        for word in ("s3cr", "ann:"):
            assert not [text for text in shown if word in text]
            assert not [text for text in stored if word.encode() in text]

    def test_a_wrong_password_is_a_denied_access_that_does_not_show_it(
        self, guarded_server: tuple[int, list[str]], source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        with pytest.raises(SourceError, match="access was denied") as caught:
            source_of(f"http://ann:wr0ng@127.0.0.1:{guarded_server[0]}/").read()
        assert "wr0ng" not in str(caught.value)

    def test_the_users_credential_helper_is_asked(
        self,
        guarded_server: tuple[int, list[str]],
        source_of: MakeSource,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings = tmp_path / "gitconfig"
        settings.write_text('[credential]\nhelper = "!f() { echo username=ann; echo password=s3cr:et; }; f"\n')
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        assert source_of(f"http://127.0.0.1:{guarded_server[0]}/").read().files

    def test_without_credentials_nobody_is_asked_on_a_terminal(
        self, guarded_server: tuple[int, list[str]], source_of: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        with pytest.raises(SourceError, match="access was denied"):
            source_of(f"http://127.0.0.1:{guarded_server[0]}/").read()

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("https://u:p@h/x", "https://***@h/x"),
            ("fatal: unable to access 'https://token@h/x/': no", "fatal: unable to access 'https://***@h/x/': no"),
            ("ssh://git@h/x and http://a:b@c/d", "ssh://***@h/x and http://***@c/d"),
            ("git@h:x", "git@h:x"),
        ],
    )
    def test_text_is_shown_without_logins(self, text: str, shown: str) -> None:
        assert redact(text) == shown


class TestWaiting:
    def test_somebody_who_knows_of_a_push_ends_the_wait(self, source_of: MakeSource) -> None:
        source = source_of("https://example.org/x")
        assert source.wait(0.01) is False
        source.wake()
        assert source.wait(10) is True
        assert source.wait(0.01) is False


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/team/fleet.git", "fleet"),
        ("git@example.org:fleet", "fleet"),
        ("/srv/my fleet/", "my-fleet"),
        ("https://example.org/.git", "git"),
    ],
)
def test_a_source_is_named_after_its_repository(url: str, name: str) -> None:
    assert source_name_of(url) == name
