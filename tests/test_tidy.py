"""House rules that a program can check. Each failure says what to do; exceptions stand here with their reason.

Import layers are checked by import-linter, style by ruff; both by ``make check``, which runs this file too.
"""

import ast
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "reconciler"
LOOPS = ("sync", "scheduler", "agent")
IMPURE_FILES = {"observe.py", "apply.py", "loop.py"}
IMPURE_EXCEPTIONS = {
    "reconciler/agent/guard.py": "reads the host's execution policy, and where links in paths lead",
    "reconciler/agent/identity.py": "reads the machine's id and takes the lock file",
    "reconciler/agent/metrics.py": "counts, for Prometheus, what the loop has planned",
    "reconciler/agent/pace.py": "reads the clock, to rest between the passes of the loop",
    "reconciler/agent/pages.py": "what the agent serves over HTTP",
    "reconciler/agent/publish.py": "the second half of the agent's apply: what it writes to the store",
    "reconciler/agent/secrets.py": "reads the values that containers are given, and remembers what they were",
    "reconciler/agent/scripts.py": "runs script checks for the health provider",
    "reconciler/agent/memory.py": "keeps what was last issued in a file, for an agent that starts without the store",
    "reconciler/agent/sweep.py": "a loop of its own: removes what is of no use any more",
    "reconciler/sync/checks.py": "names what executors check, which planners don't see",
    "reconciler/sync/provenance_record.py": "the last step of a pass: asks git for commits, writes where objects stand",
    "reconciler/sync/passes.py": "one pass: observe, plan, apply, which the daemon and sync --once share",
    "reconciler/sync/lock.py": "takes a source's lock for a moment, which apply -f and sync --once share",
    "reconciler/sync/once.py": "the loop of sync --once, which ends",
    "reconciler/sync/reporter.py": "a loop of its own: has others told what became of revisions; words.py decides what",
    "reconciler/sync/reconcile.py": "observe, decide, write until all is there, which passes and apply -f share",
    "reconciler/sync/revisions.py": "what passes reads of a source, each revision once",
    "reconciler/sync/trials.py": "how passes looks at services; what it sees is judged in gate.py",
}
INTERFACES = ("reconciler.executors.interface", "reconciler.health.interface")
"""Where the values stand that planners hand to executors and health providers."""

MOST_LINES = 350
LONG_FILES: dict[str, tuple[int, str]] = {}
"""Path → most lines and why one idea takes so many. Split a file rather than add it here."""

MOST_FUNCTION_LINES = 80
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}
"""``path:name`` → most lines and why."""

VENDORS = {
    "consul": "reconciler/store/",
    "docker": "reconciler/executors/",
    "git": "reconciler/manifests/",
    "gitdb": "reconciler/manifests/",
    "httptools": "reconciler/store/",
    "jsonschema": "reconciler/manifests/",
    "sqlite3": "reconciler/store/",
    "watchdog": "reconciler/manifests/",
    "yaml": "reconciler/manifests/",
}
"""Packages that one file may import, and where that file is."""

PURE_STANDARD_LIBRARY = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq",
    "ipaddress", "itertools", "json", "math", "operator", "re", "shlex", "string", "types", "typing", "urllib.parse",
    "zlib",
}  # fmt: skip
PURE_PACKAGES = {"msgspec"}
PURE_EXCEPTIONS = {("reconciler/agent/settings.py", "pathlib.Path")}
"""A folder's name as a value; nothing is read there."""


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """Files that are in git, or would be if they were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return tuple(sorted(path for name in names if name and (path := ROOT / name).is_file()))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules() -> tuple[Path, ...]:
    return tracked("reconciler/*.py", "reconciler/**/*.py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, inside functions too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno}: import by the full name"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_pure(path: Path) -> bool:
    """Whether a file may do nothing but compute."""
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "model" or parts in (
        ("health", "judge.py"),
        ("health", "interface.py"),
        ("executors", "interface.py"),
    ):
        return True
    if parts[0] not in LOOPS or name_of(path) in IMPURE_EXCEPTIONS:
        return False
    return path.name not in IMPURE_FILES


def fail_if(problems: list[str], what_to_do: str) -> None:
    if problems:
        pytest.fail("\n".join([*problems, f"→ {what_to_do}"]), pytrace=False)


def test_files_stay_small() -> None:
    problems = []
    for path in modules():
        most, _ = LONG_FILES.get(name_of(path), (MOST_LINES, ""))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > most:
            problems.append(f"{name_of(path)} has {lines} lines, {most} are allowed")
        elif lines <= MOST_LINES and name_of(path) in LONG_FILES:
            problems.append(f"{name_of(path)} needs no exception any more")
    fail_if(problems, "split it by idea, or give the reason in LONG_FILES")


def test_functions_stay_small() -> None:
    problems = []
    for path in modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                key = f"{name_of(path)}:{node.name}"
                most, _ = LONG_FUNCTIONS.get(key, (MOST_FUNCTION_LINES, ""))
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > most:
                    problems.append(f"{key} has {lines} lines, {most} are allowed")
    fail_if(problems, "give its parts names, or give the reason in LONG_FUNCTIONS")


def test_what_decides_does_no_input_or_output() -> None:
    problems = []
    for path in filter(is_pure, modules()):
        own = ".".join(path.relative_to(ROOT).parts[:2])
        for line, name in imports_of(path):
            top = name.split(".")[0]
            if top == "reconciler":
                allowed = name.startswith(("reconciler.model.", "reconciler.errors.", *INTERFACES))
                if name.startswith(f"{own}."):
                    sibling = PACKAGE / Path(*name.split(".")[1:3]).with_suffix(".py")
                    allowed = sibling.is_file() and is_pure(sibling)
            else:
                allowed = bool({top, name.rpartition(".")[0]} & (PURE_STANDARD_LIBRARY | PURE_PACKAGES))
            if not allowed and (name_of(path), name) not in PURE_EXCEPTIONS:
                problems.append(f"{name_of(path)}:{line} imports {name}")
    fail_if(
        problems,
        "pure files import the model, their pure siblings and what only computes; observe, apply and loop do the rest",
    )


def test_one_file_imports_each_vendors_package() -> None:
    problems = []
    for vendor, where in VENDORS.items():
        importers = sorted(
            {name_of(path) for path in modules() for _, name in imports_of(path) if name.split(".")[0] == vendor}
        )
        if len(importers) > 1:
            problems.append(f"{vendor} is imported by {', '.join(importers)}")
        problems += [f"{vendor} is imported by {each}, not below {where}" for each in importers if where not in each]
    fail_if(problems, "let one file wrap it, and the others use that")


def test_wall_time_comes_from_an_argument_or_the_clock() -> None:
    problems = []
    for path in modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
                owner = ast.unparse(node.value)
                if owner.split(".")[-1] in ("datetime", "date"):
                    problems.append(f"{name_of(path)}:{node.lineno} asks {owner}.{node.attr}")
    fail_if(problems, "take the time as an argument, or ask reconciler.runtime.clock")


def test_every_module_says_why_it_exists() -> None:
    problems = [
        name_of(path)
        for path in (*modules(), *tracked("tests/*.py", "tests/**/*.py", "benchmarks/*.py"))
        if path.stat().st_size and not ast.get_docstring(tree_of(path))
    ]
    fail_if(problems, "write a docstring: why it exists, who calls it")


def test_every_exception_from_a_check_has_a_code_and_a_reason() -> None:
    problems = []
    for path in tracked("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "# no" + "qa" in line and not re.search(r"# [n]oqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)* - \w", line):
                problems.append(f"{name_of(path)}:{number}: {line.strip()}")
            if "# type: " + "ignore" in line and not re.search(r"# type: [i]gnore\[[a-z-]+(, ?[a-z-]+)*\]", line):
                problems.append(f"{name_of(path)}:{number}: {line.strip()}")
    fail_if(problems, "write `noqa: CODE - reason`, `type: ignore[code]`; or mend it")


def test_nothing_is_left_to_do_later_in_the_code() -> None:
    marks = re.compile(
        "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "raise NotImplemented" + "Error", "no " + "cover"))
    )
    problems = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in modules()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    fail_if(problems, "do it, or leave it out")


def test_no_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    # put together here, so that this file does not name them either
    hosts = [
        ".".join(parts)
        for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"),
                      ("deb", "debian", "org"), ("golang", "org"))
    ]  # fmt: skip
    folders = "|".join(("wo" + "rk", "ro" + "ot", "fa" + "rm", "tmp/" + "lab", "home/" + "[a-z]"))
    paths = re.compile(rf"(^|[^A-Za-z0-9_.])/({folders})/")
    problems = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if any(host in line for host in hosts) or paths.search(line):
                problems.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    fail_if(problems, "pip, apt and git are set up by whoever runs them; take the address or path out")


@cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def required() -> set[str]:
    """Names of all packages that pyproject.toml asks for."""
    wanted = [*project()["project"]["dependencies"], *project()["project"]["optional-dependencies"]["dev"]]
    return {re.split(r"[<>=~! \[;]", each)[0].lower() for each in wanted}


def test_every_dependency_is_explained() -> None:
    explained = {
        match[1].lower()
        for line in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").splitlines()
        if (match := re.match(r"\| ([A-Za-z][A-Za-z0-9-]*) \|", line)) and match[1] != "package"
    }
    missing = [f"{name} has no line in docs/dependencies.md" for name in sorted(required() - explained)]
    gone = [f"docs/dependencies.md explains {name}, which is not in pyproject.toml" for name in explained - required()]
    fail_if(missing + gone, "say why each package is here")


def test_every_dependency_is_pinned_for_every_platform() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line for line in lines if not line.startswith("#")}
    problems = [f"constraints.txt: {line}" for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^ ]*", line)]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    problems += [f"{name} is not pinned" for name in sorted(required() - pinned)]
    fail_if(problems, "run scripts/update-constraints")


def test_every_key_is_in_the_architecture_page() -> None:
    from reconciler.model import keys

    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    prefixes = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
    # a prefix that others continue stands on the page through them
    parents = {each for each in prefixes if any(other != each and other.startswith(each) for other in prefixes)}
    problems = [f"{prefix} is in model/keys.py" for prefix in sorted(prefixes - parents) if f"`{prefix}" not in page]
    fail_if(problems, "add a row to the table of keys in docs/architecture.md")


def test_every_protocol_rule_in_a_tests_name_is_in_the_architecture_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    numbers = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    problems = [
        f"{name_of(path)}: {name}"
        for path in tracked("tests/*.py", "tests/**/*.py", "tests/scenarios/*")
        for name in re.findall(r"rule_(\d\d)_\w+", path.read_text(encoding="utf-8"))
        if int(name) not in numbers
    ]
    fail_if(problems, "add the rule to the table in docs/architecture.md, or correct the number")


def pages() -> tuple[Path, ...]:
    return tracked("*.md", "**/*.md")


def test_every_command_says_what_it_is_for_and_is_in_the_docs() -> None:
    import click

    from reconciler.cli.main import COMMANDS, reconciler

    text = "\n".join(path.read_text(encoding="utf-8") for path in pages())
    problems = []
    with click.Context(reconciler) as context:
        for name in COMMANDS:
            command = reconciler.get_command(context, name)
            assert command is not None
            found = [command, *getattr(command, "commands", {}).values()]
            problems += [f"{name}: {each.name} has no help" for each in found if not each.help]
            if f"reconciler {name}" not in text:
                problems.append(f"{name} is in no page")
    fail_if(problems, "write the command's docstring, and name it in README.md or docs/")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    problems = []
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            to = (page.parent / target).resolve() if target else page
            if not to.exists():
                problems.append(f"{name_of(page)} links to {link}, which is not there")
            elif anchor and to.suffix == ".md" and anchor not in anchors(to):
                problems.append(f"{name_of(page)} links to {link}: no such heading")
    fail_if(problems, "correct the link")


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in pages()
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    }
    folders = {path for path in linked if path.is_dir()}
    alone = [name_of(page) for page in pages() if page not in linked and page.parent not in folders]
    fail_if(
        [name for name in alone if name != "README.md"],
        "link it from README.md or from a page that is read before it",
    )


def test_paths_that_the_docs_name_exist() -> None:
    tops = "reconciler|tests|docs|examples|schemas|scripts|benchmarks"
    problems = []
    for page in pages():
        named = re.findall(rf"`((?:{tops})/[\w./-]*\w/?)`", page.read_text(encoding="utf-8"))
        # formats have such names too: `reconciler/v1`
        named = [path for path in named if not re.fullmatch(r"reconciler/[a-z]*\d", path)]
        problems += [
            f"{name_of(page)} names {path}, which is not there" for path in named if not (ROOT / path).exists()
        ]
    for path in tracked("reconciler/*.py", "reconciler/**/*.py", "examples/*", "schemas/*"):
        named = re.findall(r"\b(docs/[\w./-]+\.md)\b", path.read_text(encoding="utf-8"))
        problems += [
            f"{name_of(path)} names {each}, which is not there" for each in named if not (ROOT / each).exists()
        ]
    fail_if(problems, "correct the path")


def metrics() -> set[str]:
    """The names of all metrics, as Prometheus reads them."""
    return {
        str(node.args[0].value)
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Counter", "Gauge", "Histogram", "Summary")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_metric_is_explained_and_alerts_use_no_other() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    problems = [f"{name} is not in docs/operations.md" for name in sorted(metrics()) if f"`{name}" not in page]
    assert len(metrics()) >= 3
    for path in tracked("examples/deploy/prometheus/*"):
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        expressions = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
        problems += [
            f"{name_of(path)} uses {name}, which no code writes"
            for name in sorted(set(re.findall(r"reconciler_\w+", expressions)) - metrics())
        ]
    fail_if(problems, "add the metric to the table in docs/operations.md, or correct its name")


def test_every_decision_is_in_the_list() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    problems = []
    for path in tracked("docs/decisions/0*.md"):
        title = path.read_text(encoding="utf-8").splitlines()[0]
        if f"[{path.name[:4]}]({path.name})" not in listed:
            problems.append(f"{path.name} is not in docs/decisions/README.md")
        if not title.startswith(f"# {path.name[:4]} "):
            problems.append(f"{path.name} begins with {title!r}")
    fail_if(problems, "number it, give it a title, add a row")


def test_unit_tests_mirror_the_package() -> None:
    problems = [
        name_of(path)
        for path in tracked("tests/unit/**/*.py")
        if not (PACKAGE / path.relative_to(ROOT / "tests/unit").parent).is_dir()
    ]
    fail_if(problems, "put it beside the tests of the package that it is about")


SCRIPTS = [path for path in tracked("scripts/*", ".ci/*") if path.suffix != ".py"]


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_run_as_they_are(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert path.stat().st_mode & stat.S_IXUSR, f"chmod +x {name_of(path)}"
    assert first.startswith("#!/usr/bin/env ") or first == "#!/bin/sh", f"{name_of(path)} begins with {first!r}"
    if "sh" in first:
        checked = subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False, text=True)
        assert checked.returncode == 0, checked.stderr


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    hidden = {"venv", "venv-dev"}
    assert explained == set(phony[1].split()) - hidden, "give each target a ## line, and a place in .PHONY"


def test_ci_runs_only_make_targets_with_few_rights() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in tracked(".github/workflows/*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, f"{name_of(path)}: rights beyond reading"
        for name, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 30, f"{name_of(path)}: {name} has no bound"
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), step["uses"]
                else:
                    assert step["run"].startswith("make "), f"{name_of(path)}: put {step['run']!r} into the Makefile"
                    assert step["run"].split()[1] in targets, f"{name_of(path)}: no target for {step['run']!r}"


def test_python_versions_agree_everywhere() -> None:
    oldest = project()["project"]["requires-python"].removeprefix(">=")
    assert project()["tool"]["mypy"]["python_version"] == oldest
    assert project()["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions[0] == oldest, "CI must run the oldest Python that we promise"
    candidates = (ROOT / "scripts/make-venv").read_text(encoding="utf-8")
    for version in versions:
        assert f"python{version}" in candidates, f"scripts/make-venv does not look for python{version}"
    assert sys.version_info >= tuple(int(part) for part in oldest.split("."))
