"""Objects applied by hand are committed and adopted, and the source gets another name: with real tasks, that run on."""

import json

import pytest

from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.sync import manifest

pytestmark = pytest.mark.timeout(240)


def test_lesson_1_6_what_was_applied_by_hand_moves_to_git_and_to_another_name_and_restarts_nothing(
    program: Program, repository: GitRepository
) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    written = manifest(["web"], command="sleep 1000")
    (program.folder / "web.json").write_text(written)
    program.ok("apply", "-f", "web.json")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--http", "127.0.0.1:0", "--executor", "bash")
    before = program.healthy("web", 1)

    repository.commit({"web.json": written})
    for old, new in (("apply", "fleet"), ("fleet", "renamed")):
        once = ("sync", "--git", repository.url, "--name", new, "--once")
        assert program.run(*once).returncode == 1
        ordered = program.run("adopt", new, "--from", old, "--all", "--timeout", "0.1")
        assert ordered.returncode == 1
        assert f"nobody works on source {new}" in ordered.stderr
        assert "3 updated, 0 deleted" in program.ok(*once)
    shown = json.loads(program.run("status", "--format", "json").stdout)
    assert [row["source"] for row in shown["sources"]] == ["renamed"]
    # the scheduler and the agent have seen all of it once they have seen what comes after it
    repository.commit({"web.json": manifest(["web", "api"], command="sleep 1000")})
    program.ok(*once)
    program.healthy("api", 1)
    assert program.healthy("web", 1) == before
