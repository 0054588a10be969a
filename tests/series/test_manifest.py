"""What a folder tells of the runs in it."""

import json

import pytest

from medsr_lib.series import manifest, report, run

CODE = """from pathlib import Path
from medsr_lib.series import report
if limit == 0:
    raise ValueError("none")
(Path(out_dir) / "{0}").mkdir(exist_ok=True)
_ = report.record(Path(out_dir) / "{0}", {{"scale": scale}})"""


@pytest.fixture
def twice(series):
    """02 was run with scale 2; then a run of both with scale 3 ended in 01."""
    series.add("01_a", CODE.format("01_a"), title="# One\n\n**Is it _so_?**")
    series.add("02_b", CODE.format("02_b"))
    series.run("02", parameters={"scale": 2})
    series.run(parameters={"scale": 3, "limit": 0})
    return series


def test_results_are_told_with_the_parameters_they_were_made_with(twice):
    first, second = manifest.read(twice.out).results
    assert (first.status, first.parameters["scale"], first.record) == ("failed", 3, None)
    assert (second.status, second.parameters["scale"]) == ("earlier run", 2)
    assert second.record["values"] == {"scale": 2}
    assert [result.notebook for result in manifest.earlier(twice.out)] == ["02_b"]


def test_a_run_tells_how_it_was_made(twice):
    found = manifest.read(twice.out)
    assert found.command.startswith("medsr run --data ")
    assert found.data == (str(twice.data),)
    assert found.versions == report.versions()
    assert found.results[0].question == "Is it so?"
    assert found.results[0].error == "ValueError: none"
    # fields of later versions are passed over
    path = twice.out / manifest.NAME
    content = json.loads(path.read_text())
    content["notebooks"][0]["colour"] = "blue"
    path.write_text(json.dumps(content))
    assert len(manifest.read(twice.out).results) == 2


def test_a_digest_is_of_the_code_alone(series):
    path = series.add("01_a", "1")
    before = manifest.digest(path)
    assert manifest.digest(series.add("01_a", "1", title="# Other")) == before
    assert manifest.digest(series.add("01_a", "2")) != before


def test_a_damaged_manifest_does_not_stop_a_run(series):
    series.add("01_a", "1")
    series.out.mkdir(parents=True)
    (series.out / manifest.NAME).write_text("{")
    (result,) = series.run("01")
    assert result.status == "done"
    assert manifest.read(series.out).results[0].notebook == "01_a"
    assert run.find(["01"], series.folder)
