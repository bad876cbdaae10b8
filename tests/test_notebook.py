"""What a notebook shows of results: the same words as the page, names as text, nothing that runs."""

import page_results as made
import pytest

import initbench as ib
from initbench.analysis.page import findings
from initbench.analysis.results import Results
from initbench.grid.training import prepare, run_training


@pytest.fixture
def trained(tmp_path):
    return Results(made.training(tmp_path / "trained", depth=[1], momentum=[0.0], nesterov=[False], batch_size=[32]))


def test_question_answer_and_tables(trained):
    shown, finding = trained._repr_html_(), findings.of_results(trained)
    assert finding.lead in shown.replace("\N{NO-BREAK SPACE}", " ")
    assert finding.question in shown
    assert all(fact.value in shown for fact in finding.facts)
    assert f"{len(trained.runs):,} rows" in shown
    assert 'code>.table("runs")' in shown.replace("&#34;", '"')


def test_names_are_text_and_nothing_runs(tmp_path):
    shown = Results(
        made.training(tmp_path / made.HOSTILE.replace("/", "-"), init=[made.HOSTILE, "zeros"])
    )._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown


def test_unfinished_results_tell_how_far_they_are(tmp_path):
    study = ib.Study(compare={"init": ["he_normal", "zeros"]}, fix={"steps": 3, "width": 4}, seeds=2)

    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(prepare(study), tmp_path / "half", progress=stop)
    shown = ib.load(tmp_path / "half")._repr_html_()
    assert "unfinished; the same command goes on" in shown
    assert "trainings: 4: " in shown
