"""`make gpu` as far as it goes on a CPU."""

import json
from pathlib import Path

from benchmarks.gpu import Report, measure_steps
from tests.helpers import TINY, Cli


def test_the_report_says_what_holds_and_what_failed(cli: Cli, tmp_path: Path) -> None:
    class InProcess(Report):
        def hifitse(self, *arguments: object) -> str:
            outcome = cli(*arguments)
            if outcome.code:
                raise RuntimeError(outcome.err)
            return outcome.out

    report = InProcess("cpu", str(TINY), 4, tmp_path)
    report.part("train", lambda: report.train("plain", "data.num_workers=0"))
    report.part("repeat", lambda: report.verify("plain"))
    report.part("extract", report.extract)
    assert [finding.verdict for finding in report.findings] == ["PASS"] * 3
    assert report.write()
    report.part("nonsense", lambda: report.train("plain"), must_hold=False)
    report.part("it exists", lambda: report.train("plain"))
    assert [finding.verdict for finding in report.findings[3:]] == ["note", "FAIL"]
    assert not report.write()
    assert "| repeat | PASS |" in (tmp_path / "report.md").read_text()
    assert "this run exists" in json.loads((tmp_path / "report.json").read_text())["findings"][-1]["detail"]


def test_steps_are_measured(tmp_path: Path) -> None:
    assert "scenes/s" in measure_steps("cpu", str(TINY), 2)
