"""The benchmarks still run. They are not measured here: nothing in the tests asserts on speed."""

import pytest

from benchmarks import plan, validate


def test_the_planners_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plan, "SIZES", ((3, 2, 3),))
    plan.main()
    assert "place everything" in capsys.readouterr().out


def test_the_benchmark_of_validate_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(validate, "FILES", 3)
    monkeypatch.setattr(validate, "OBJECTS", 6)
    # the peer is installed for `make bench` only
    monkeypatch.setattr(validate, "install_peer", lambda: None)
    monkeypatch.setattr(validate, "run_peer", validate.bundled)
    validate.main()
    shown = capsys.readouterr().out
    assert "again, unchanged" in shown
    assert "check-jsonschema takes" in shown
