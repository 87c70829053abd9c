"""``plan --out FILE``, then ``apply --plan FILE``, as users type it: with a repository that may be gone by then."""

import shutil

from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.sync import manifest


def test_a_plan_of_a_repository_is_applied_without_it(program: Program, repository: GitRepository) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    commit = repository.commit({"web.json": manifest(["web"])})
    program.ok("store", "init")
    made = program.run("plan", "--git", repository.url, "--source", "fleet", "--out", "plan.json")
    assert (made.returncode, "apply it with: reconciler apply --plan plan.json" in made.stderr) == (0, True)
    shutil.rmtree(repository.path)
    waited = program.run("apply", "--plan", "plan.json", "--wait", "--timeout", "1s")
    assert waited.returncode == 1
    assert "3 created" in waited.stdout
    assert "main/web" in waited.stderr
    assert commit[:12] in program.ok("history", "fleet")
    assert "web.json:1" in program.ok("explain", "service/web")
    assert "0 created, 0 updated" in program.ok("apply", "--plan", "plan.json")


def test_files_are_planned_as_what_apply_writes_and_refused_once_that_moved(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    manifests = program.folder / "all.json"
    manifests.write_text(manifest(["web"]))
    program.ok("apply", "-f", "all.json")
    manifests.write_text(manifest(["web"], desired=2))
    program.ok("plan", "all.json", "--source", "apply", "--out", "plan.json")
    manifests.write_text(manifest(["web"], desired=3))
    program.ok("apply", "-f", "all.json")
    moved = program.run("apply", "--plan", "plan.json")
    assert moved.returncode == 1
    assert "service web was changed" in moved.stderr
    assert "reconciler plan" in moved.stderr

    other = program.run("plan", "all.json", "--source", "fleet", "--out", "other.json")
    assert (other.returncode, (program.folder / "other.json").exists()) == (2, False)
    assert "give --git URL" in other.stderr
    assert program.run("apply").returncode == 2
