"""The benchmarks still run. They are not measured here: nothing in the tests asserts on speed."""

import pytest

from benchmarks import plan, validate


def test_the_planners_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plan, "SIZES", ((3, 2, 3),))
    plan.main()
    assert "place everything" in capsys.readouterr().out


def test_the_benchmark_of_validate_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(validate, "FILES", 3)
    validate.main()
    assert "again, unchanged" in capsys.readouterr().out
