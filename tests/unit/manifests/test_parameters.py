"""``${NAME}`` is replaced where it is declared, left to the shell where one reads it, and refused elsewhere."""

import pytest

from reconciler.manifests.nodes import Node
from reconciler.manifests.parameters import MOST_IN_ALL, Filling, Parameters
from tests.unit.manifests.environment_files import REPOSITORY, found, loaded, with_patch

KNOWN = Parameters(
    {
        "COUNT": Node(3, 7, 6, "6", file="reconciler.yaml"),
        "HOST": Node(4, 7, "example.org", file="reconciler.yaml"),
        "FAST": Node(5, 7, True, "yes", file="reconciler.yaml"),
        "RATIO": Node(6, 7, 0.5, "0.50", file="reconciler.yaml"),
    },
    frozenset({"LOST"}),
)


def filled(field: str, text: str) -> tuple[object, int, list[str]]:
    """The value of a field that holds ``text``, its line, and what is wrong."""
    node = Node(9, 1, {field: text}, fields={field: Node(9, 5, text, file="web.yml")}, keys={field: (9, 1)})
    filling = Filling(KNOWN)
    made, problems = filling.filled_in(node), filling.problems
    assert made.value == {field: made.fields[field].value}
    return made.fields[field].value, made.fields[field].line, [each.message for each in problems]


@pytest.mark.parametrize(
    ("text", "value", "line"),
    [
        ("${COUNT}", 6, 3),
        ("${FAST}", True, 5),
        ("${HOST}", "example.org", 4),
        ("http://${HOST}:${COUNT}/${FAST}/${RATIO}", "http://example.org:6/true/0.50", 9),
        ("$${HOST} ${HOST}", "${HOST} example.org", 9),
        ("$${a.b}", "${a.b}", 9),
        ("$HOST $(x) $$ costs 5$", "$HOST $(x) $$ costs 5$", 9),
        ("${LOST}", "${LOST}", 0),
        ("a ${LOST} ${HOST}", "a ${LOST} example.org", 0),
    ],
)
def test_declared_names_are_replaced(text: str, value: object, line: int) -> None:
    assert filled("image", text) == (value, line, [])


@pytest.mark.parametrize("text", ["${COUNTS}", "${count}", "a/${X}", "${HOST:-x}", "${a.b}", "${", "${}"])
def test_anything_else_is_an_error_where_no_shell_reads_it(text: str) -> None:
    """And the only one: that it does not fit its field either is nothing that anybody wrote."""
    value, line, problems = filled("image", text)
    assert (value, line, len(problems)) == (text, 0, 1)


@pytest.mark.parametrize("field", ["start", "stop", "setup", "script", "cmd", "entry"])
def test_a_shell_keeps_its_own_variables(field: str) -> None:
    text = 'cd ${HOME} && echo ${PORT:-80} ${x%.*} "${a[@]}" ${HOST} $${COUNT}'
    made = 'cd ${HOME} && echo ${PORT:-80} ${x%.*} "${a[@]}" example.org ${COUNT}'
    assert filled(field, text) == (made, 9, [])


def test_in_lists_of_texts_a_number_is_text_and_elsewhere_it_keeps_its_type() -> None:
    patch = """\
task_definitions:
  - name: web
    tags: ["${WEB_COUNT}", "${FAST}"]
    containers: [{name: app, executor: {cmd: [run, "${WEB_COUNT}"]}}]
hosts: [{name: h1, port_range: ["${WEB_COUNT}", 100], draining: "${FAST}"}]
"""
    result = loaded(with_patch(patch))
    assert result.problems == ()
    by_name = {each.object.name: each.object for each in result.objects if hasattr(each.object, "containers")}
    assert by_name["web"].tags == ("6", "false")  # type: ignore[union-attr]
    assert by_name["web"].containers[0].executor.cmd == ("run", "6")  # type: ignore[union-attr]
    host = next(each.object for each in result.objects if each.object.name == "h1")
    assert (host.port_range, host.draining) == ((6, 100), False)  # type: ignore[union-attr]


def test_a_value_that_does_not_fit_is_shown_where_the_value_stands() -> None:
    files = dict(REPOSITORY)
    files["reconciler.yaml"] = files["reconciler.yaml"].replace(
        "{type: integer, minimum: 1, maximum: 50}", "{type: string}"
    )
    files["reconciler.yaml"] = files["reconciler.yaml"].replace("WEB_COUNT: 6", "WEB_COUNT: six")
    files["reconciler.yaml"] = files["reconciler.yaml"].replace("WEB_COUNT: 2", 'WEB_COUNT: "2"')
    (problem,) = found(loaded(files))
    assert problem.startswith("reconciler.yaml:12 RC020 service 'web': desired must be a whole number")


def test_a_number_where_text_is_wanted_says_to_declare_it_as_text() -> None:
    (problem,) = loaded(with_patch('hosts: [{name: h1, tags: {zone: "${WEB_COUNT}"}}]\n')).problems
    assert (problem.file, problem.line, problem.code) == ("reconciler.yaml", 12, "RC034")
    assert problem.hint == 'declare the parameter as type: string, and put it in quotes: "6"'


def test_a_text_that_does_not_fit_is_shown_where_the_text_stands() -> None:
    files = dict(REPOSITORY)
    files["reconciler.yaml"] = files["reconciler.yaml"].replace("registry.prod", "not a host")
    (problem,) = found(loaded(files))
    assert problem.startswith(
        "web.yml:19 RC025 task definition 'web': containers[0].executor.image is 'not a host/web:1'"
    )


def test_repositories_without_environments_keep_every_dollar() -> None:
    text = REPOSITORY["web.yml"].replace("desired: ${WEB_COUNT}", "desired: 1").replace("${REGISTRY}", "r")
    text = text.replace("LOG=debug", "'LOG=${LOG} $${X}'")
    result = loaded({"web.yml": text}, None)
    assert result.problems == ()
    assert any("LOG=${LOG} $${X}" in str(each.object) for each in result.objects)


def test_a_problem_with_a_key_stands_where_the_key_is_written_and_not_the_value() -> None:
    files = dict(REPOSITORY)
    files["web.yml"] = files["web.yml"].replace("desired: ${WEB_COUNT}", "desird: ${WEB_COUNT}")
    assert [each[:60] for each in found(loaded(files))] == ["web.yml:7 RC021 service 'web' has no field 'desird'"]
    patch = with_patch("services:\n- name: worker\n  mim: ${WEB_COUNT}\n")
    assert found(loaded(patch)) == ["overlays/prod/a.yml:3 RC021 service 'worker' has no field 'mim'"]


def test_a_base_without_its_parameters_is_not_valid_by_itself() -> None:
    base = REPOSITORY["web.yml"].replace("desired: ${WEB_COUNT}", "desired: 1")
    (problem,) = found(loaded({"web.yml": base}, None))
    assert problem.startswith("web.yml:19 RC025 task definition 'web': containers[0].executor.image is '${REGISTRY}")


def test_few_bytes_never_become_very_many() -> None:
    long = Parameters({"X": Node(1, 1, "x" * 60_000, file="reconciler.yaml")}, frozenset())

    def node(*texts: str) -> Node:
        items = [Node(9, number, text, file="a.yml") for number, text in enumerate(texts, 1)]
        return Node(9, 1, list(texts), items=items, file="a.yml")

    for one in (node("${X} " * 1_000_000), node(*["${X}"] * 1_000_000), node(*["a${X}"] * 1_000)):
        filling = Filling(long)
        assert len(str(filling.filled_in(one).value)) < 9_000_000
        assert [each.message for each in filling.problems] == ["the values of parameters make this larger than 256 KB"]
    filling = Filling(long)
    many = sum(len(filling.filled_in(node("a${X}" * 4)).value[0]) for _ in range(1000))
    assert many < MOST_IN_ALL + 300_000
    assert [each.code for each in filling.problems] == ["RC018"]


def test_what_an_environment_adds_to_an_object_is_named_whether_it_shows_or_not() -> None:
    text = REPOSITORY["web.yml"].replace("desired: ${WEB_COUNT}", "desired: 1")
    files = with_patch("services:\n- name: web\n\n  rollout: {deadline: null}\n") | {"web.yml": text}
    origins = {type(each.object).__name__ + each.object.name: each.origin for each in loaded(files).objects}
    assert origins["TaskDefinitionweb"].values_in == (("reconciler.yaml", 11),)
    assert origins["Serviceweb"].values_in == (("overlays/prod/a.yml", 4),)
    removed = with_patch("task_definitions:\n- name: web\n  containers:\n  - {name: side, remove: true}\n")
    origins = {type(each.object).__name__ + each.object.name: each.origin for each in loaded(removed).objects}
    assert origins["TaskDefinitionweb"].values_in == (("overlays/prod/a.yml", 4), ("reconciler.yaml", 11))
