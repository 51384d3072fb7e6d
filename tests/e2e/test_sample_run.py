"""Whole runs of the real pipeline on a small sample, through the TFX CLI.

One sequence over one output folder: cold, cached, an edit of each kind, failure, recovery.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.arrow import pa, pq
from components.pushing.versions import rollback
from components.training.warmup_requests import read_warmup
from pipeline.corpora.sample import make_sample

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("cold")]

ROWS = 1500
NODES = (
    "ImportSchemaGen",
    "ParquetExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "LatestAcceptedData",
    "SchemaGen",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "LatestBlessedModel",
    "Evaluator",
    "EvaluationSummary",
    "InfraValidator",
    "ModelCard",
    "LatestPush",
    "Pusher",
    "Predictions",
    "RunReport",
)
# They look up, at each run, what it is compared with; there is nothing to cache.
RESOLVERS = ("LatestAcceptedData", "LatestBlessedModel", "LatestPush")

CONFIG = """
[run]
name = "arxiv-e2e"
output_dir = "out"
[data]
parquet = "input/papers.parquet"
glove = "input/vectors.txt"
schema_file = "code/schema/schema.pbtxt"
validations_file = "code/schema/validations.pbtxt"
[transform]
vocabulary_size = 3000
sequence_length = 64
[model]
lstm_units = 8
dense_units = 16
wide_ngrams = 16384
[training]
batch_size = 64
length_buckets = [32]
histogram_every = 0
[training.phase1]
epochs = 2
[training.phase2]
epochs = 2
[evaluation]
min_accuracy = {min_accuracy}
min_macro_f1 = 0.05
max_cross_entropy = 3.0
max_accuracy_drop = 1.0
max_macro_f1_drop = 1.0
[infra_validation]
max_latency_ms = {max_latency_ms}
tries = 1
"""


class Project:
    """A copy of the project's code in a folder of its own, which tests may edit."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        for name in ("pipeline", "components", "schema"):
            shutil.copytree(
                repository / name,
                self.code / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        make_sample(folder / "input", ROWS, 7)
        self.configure()

    def configure(self, min_accuracy: float = 0.2, max_latency_ms: float = 60_000.0) -> None:
        text = CONFIG.format(min_accuracy=min_accuracy, max_latency_ms=max_latency_ms)
        (self.folder / "run.toml").write_text(text, encoding="utf-8")

    def append(self, module: str, text: str) -> None:
        path = self.code / module
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ARXIV_PIPELINE_CONFIG": str(self.folder / "run.toml"),
            "PYTHONPATH": str(self.code),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = arguments or ("pipeline.launch.tfx_cli_session", "make run")
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def versions(self) -> list[int]:
        folder = self.folder / "out" / "serving" / "arxiv-e2e"
        return sorted(int(path.name) for path in folder.glob("[0-9]*"))


def outcomes(output: str) -> dict[str, str]:
    return dict(re.findall(r"│ (\w+) +│ ([\w ]+?) +│", output))


def reran(output: str) -> set[str]:
    return {node for node, what in outcomes(output).items() if what == "ran"}


def report_of(output: str) -> str:
    """The text of the page that a run named."""
    (path,) = re.findall(r"^Report: (.*)$", output, re.MULTILINE)
    return Path(path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory, repository: Path) -> Project:
    return Project(tmp_path_factory.mktemp("project"), repository)


@pytest.fixture(scope="module")
def cold(project: Project) -> subprocess.CompletedProcess[str]:
    return project.run()


def test_cold_run_pushes_a_blessed_model_and_keeps_the_terminal_clean(project, cold) -> None:
    assert (cold.returncode, cold.stderr) == (0, "")
    expected = {node: "looked up" if node in RESOLVERS else "ran" for node in NODES}
    assert outcomes(cold.stdout) == expected
    assert not re.search(r"warn|deprecat|tensorflow|absl|I0000", cold.stdout, re.IGNORECASE)
    assert re.search(r"Test accuracy 0\.\d{4}, macro-F1 0\.\d{4}", cold.stdout)
    assert "Blessed: yes" in cold.stdout
    (version,) = project.versions()
    assert f"Pushed model: {project.folder}/out/serving/arxiv-e2e/{version}" in cold.stdout
    (log,) = re.findall(r"^Log: (.*)$", cold.stdout, re.MULTILINE)
    assert Path(log).is_file()
    page = report_of(cold.stdout)
    assert "✓ Blessed" in page
    assert f"Pushed to <code>{project.folder}/out/serving/arxiv-e2e/{version}</code>" in page
    assert all(f'<th scope="row">{node}</th>' in page for node in ("Transform", "Trainer"))


def test_pushed_model_answers_raw_text_in_a_fresh_process(project) -> None:
    (version,) = project.versions()
    papers = pq.read_table(project.folder / "input" / "papers.parquet").to_pandas()
    papers = papers.dropna(subset=["abstract", "final_category"]).head(64)
    code = f"""
import sys, json, tensorflow as tf
model = tf.saved_model.load({str(project.folder / "out/serving/arxiv-e2e" / str(version))!r})
texts = json.load(sys.stdin)
out = model.signatures["serving_default"](abstract=tf.constant(texts))
print(json.dumps([out["label"].numpy().astype(str).tolist(), out["scores"].numpy().tolist(),
                  out["classes"].numpy()[0].astype(str).tolist()]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([*papers.abstract, "", "$x$"]),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    labels, scores, classes = json.loads(answer.stdout)
    assert classes == ["bio", "cs", "econ", "engineering", "math", "physics", "stat"]
    np.testing.assert_allclose(np.sum(scores, axis=1), 1.0, atol=1e-5)
    assert labels == [classes[i] for i in np.argmax(scores, axis=1)]
    assert np.mean(np.array(labels[:-2]) == papers.final_category.to_numpy()) > 0.4


def documented_commands() -> list[str]:
    """Commands of README and the pages, but for those of make and those that say what they need."""
    repository = Path(__file__).parents[2]
    pages = [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = re.findall(r"(?<! -->\n)```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace(".venv/bin/", "").splitlines()
    return sorted({line for line in lines if line.startswith("arxiv-")})


@pytest.mark.parametrize("command", documented_commands())
def test_documented_command_works_on_the_run(project, command, tmp_path) -> None:
    folder = project.folder
    for shown, here in {
        "var/sample/serving/arxiv-sample": f"{folder}/out/serving/arxiv-e2e",
        "var/sample/input": f"{folder}/input",
        "--output-dir var/sample": f"--output-dir {folder}/out",
        "pipeline/config/sample.toml": f"{folder}/run.toml",
    }.items():
        command = command.replace(shown, here)
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project.code)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "--skip-bad-rows" in command:
        assert done.returncode == 7
        assert "there is no text in 'abstract'" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_nothing_pickled_is_in_the_model(project) -> None:
    (version,) = project.versions()
    folder = project.folder / "out" / "serving" / "arxiv-e2e" / str(version)
    assert (folder / "saved_model.pb").is_file()
    assert any(path.name.startswith("vocabulary") for path in (folder / "assets").iterdir())
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".keras"}]


def test_pushed_model_has_its_card_and_warmup_requests_of_the_eval_split(project) -> None:
    serving = project.folder / "out" / "serving" / "arxiv-e2e"
    extra = serving / str(project.versions()[-1]) / "assets.extra"
    card = json.loads((extra / "model_card.json").read_text(encoding="utf-8"))
    artifacts = project.folder / "out" / "artifacts"
    (metrics,) = artifacts.glob("EvaluationSummary/metrics/*/metrics.json")
    (ingestion,) = artifacts.rglob("ingestion.json")
    overall = json.loads(metrics.read_text(encoding="utf-8"))["overall"]
    assert card["data"] == json.loads(ingestion.read_text(encoding="utf-8"))
    assert card["evaluation"]["overall"]["macro_f1"] == overall["macro_f1"]
    assert card["evaluation"]["overall"]["per_class"] == overall["per_class"]
    assert card["serving"]["blessed"] is True
    assert card["code"]["commit"] is None
    assert f"| accuracy | {overall['accuracy']:.4g} |" in (extra / "model_card.md").read_text()
    papers = pq.read_table(project.folder / "input" / "papers.parquet").to_pandas()
    requests = read_warmup(extra / "tf_serving_warmup_requests")
    sent = {text for one in requests for text in tf.make_ndarray(one.inputs["abstract"]).tolist()}
    assert len(sent) == 64
    assert sent <= {text.encode() for text in papers.abstract.dropna()}


def test_model_that_breaks_a_budget_is_not_pushed(project) -> None:
    before = project.versions()
    project.configure(max_latency_ms=0.000001)
    slow = project.run()
    project.configure()
    assert slow.returncode == 3
    first, reason = slow.stderr.splitlines()
    assert first == "NOT PUSHED, the model cannot be served as it should be:"
    assert re.fullmatch(
        r"  latency of one abstract, 95th percentile of 100: [\d.]+ ms, "
        r"budget 1e-06 ms \(max_latency_ms\)",
        reason,
    )
    assert reran(slow.stdout) == {"InfraValidator", "ModelCard", "Pusher", "RunReport"}
    assert "Blessed: yes" in slow.stdout
    assert project.versions() == before
    assert reran(project.run().stdout) == set()


def test_second_run_is_cached_throughout(project) -> None:
    before = project.versions()
    again = project.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert reran(again.stdout) == set()
    assert set(outcomes(again.stdout)) == set(NODES)
    assert project.versions() == before


def test_plain_entry_shares_the_cache_with_the_cli(project) -> None:
    plain = project.run("pipeline", "run")
    assert plain.returncode == 0
    assert reran(plain.stdout) == set()


def test_stricter_threshold_evaluates_again_and_says_loudly_what_failed(project) -> None:
    before = project.versions()
    project.configure(min_accuracy=0.999)
    strict = project.run()
    project.configure()
    assert strict.returncode == 3
    assert re.search(r"NOT BLESSED, nothing was pushed: accuracy 0\.\d+ is below", strict.stderr)
    assert reran(strict.stdout) == {
        "Evaluator", "EvaluationSummary", "ModelCard", "Pusher", "RunReport"
    }  # fmt: skip
    assert project.versions() == before
    assert "✗ Not blessed" in report_of(strict.stdout)


def test_edited_trainer_code_trains_again_and_nothing_before_it(project) -> None:
    before = project.versions()
    project.append("components/training/run_fn.py", "\n# edited\n")
    edited = project.run()
    assert edited.returncode == 0
    assert reran(edited.stdout) == {
        "Trainer", "Evaluator", "EvaluationSummary", "InfraValidator", "ModelCard", "Pusher",
        "Predictions", "RunReport",
    }  # fmt: skip
    # The earlier model is still served, whatever the stricter threshold made of it.
    assert "The last other model pushed is artifact" in report_of(edited.stdout)
    assert len(project.versions()) == len(before) + 1
    assert reran(project.run().stdout) == set()


def test_removed_version_is_pushed_again(project) -> None:
    serving = project.folder / "out" / "serving" / "arxiv-e2e"
    gone = project.versions()[-1]
    shutil.rmtree(serving / str(gone))
    again = project.run()
    assert again.returncode == 0
    assert reran(again.stdout) == {"Pusher", "RunReport"}
    newest = project.versions()[-1]
    assert f"Pushed model: {serving}/{newest}" in again.stdout
    assert reran(project.run().stdout) == set()


def test_model_that_is_changed_after_its_blessing_is_not_pushed(project) -> None:
    out = project.folder / "out"
    serving = out / "serving" / "arxiv-e2e"
    shutil.rmtree(serving / str(project.versions()[-1]))
    before = project.versions()
    model = max((out / "artifacts/Trainer/model").iterdir(), key=lambda path: int(path.name))
    (file,) = (model / "Format-Serving" / "assets").glob("vocabulary*")
    words = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([*words[:10], words[11], words[10], *words[12:]]))
    refused = project.run()
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"FAILED: node Pusher failed: {model} was changed or damaged after it was made; "
    )
    assert project.versions() == before
    file.write_bytes(b"\n".join(words))
    again = project.run()
    assert (again.returncode, reran(again.stdout)) == (0, {"Pusher", "RunReport"})
    listed = project.run("pipeline", "versions", "list", "-o", str(out), "--verify")
    assert listed.returncode == 0, listed.stdout
    assert listed.stdout.count("verified") == len(project.versions())


def test_rolled_back_model_is_not_pushed_again(project) -> None:
    serving = project.folder / "out" / "serving" / "arxiv-e2e"
    rejected = project.versions()[-1]
    before = rollback(serving)
    for expected in ({"Pusher", "RunReport"}, set()):
        again = project.run()
        assert (again.returncode, reran(again.stdout)) == (3, expected)
        assert again.stderr.startswith(
            f"NOT PUSHED: this model was served as version {rejected} and rolled back; "
        )
        assert f"Still served: {before.path}" in again.stdout
        assert f"version {rejected} and rolled back" in report_of(again.stdout)
        assert project.versions()[-1] == before.version
    (serving / f".rolled-back-{rejected}").rename(serving / "kept-by-hand")
    lifted = project.run()
    assert (lifted.returncode, reran(lifted.stdout)) == (0, {"Pusher", "RunReport"})
    assert project.versions()[-1] > rejected


def test_going_back_to_an_earlier_model_serves_it_again(project) -> None:
    path = project.code / "components" / "training" / "run_fn.py"
    text = path.read_text(encoding="utf-8")
    serving = project.folder / "out" / "serving" / "arxiv-e2e"

    def served() -> str:
        report = serving / str(project.versions()[-1]) / "assets.extra" / "training.json"
        device = json.loads(report.read_text(encoding="utf-8"))["device"]
        return "second" if device == "second" else "first"

    for edition in ("second", "first", "second"):
        added = 'report = report.model_copy(update={"device": "second"})\n    run_dir = '
        new = text.replace("run_dir = ", added, 1) if edition == "second" else text
        path.write_text(new, encoding="utf-8")
        run = project.run()
        assert run.returncode == 0
        assert "The last other model pushed is artifact" in report_of(run.stdout)
        assert served() == edition
    path.write_text(text, encoding="utf-8")


def test_a_touched_parquet_is_no_other_parquet(project) -> None:
    os.utime(project.folder / "input" / "papers.parquet")
    assert "ParquetExampleGen" not in reran(project.run().stdout)


def test_model_of_other_classes_is_not_the_baseline(project) -> None:
    schema = project.code / "schema" / "schema.pbtxt"
    text = schema.read_text(encoding="utf-8")
    schema.write_text(
        text.replace('  value: "econ"\n', '  value: "econ"\n  value: "astro"\n'), encoding="utf-8"
    )
    wider = project.run()
    schema.write_text(text, encoding="utf-8")
    assert wider.returncode == 0, wider.stderr
    assert "Trainer" in reran(wider.stdout)
    back = project.run()
    assert back.returncode == 0, back.stderr
    assert reran(back.stdout) == {"Pusher", "RunReport"}


def test_schema_that_forbids_a_class_stops_before_transform(project) -> None:
    schema = project.code / "schema" / "schema.pbtxt"
    text = schema.read_text(encoding="utf-8")
    before = project.versions()
    schema.write_text(text.replace('  value: "econ"\n', ""), encoding="utf-8")
    stopped = project.run()
    schema.write_text(text, encoding="utf-8")
    assert stopped.returncode == 1
    first, log, resume = stopped.stderr.strip().splitlines()
    assert first.startswith("FAILED: node AnomalyGate failed: the data break the reviewed schema")
    assert "column final_category" in first
    assert "econ" in first
    assert log.startswith("Log: ")
    assert resume == "Resume (finished nodes are cached): make run"
    states = outcomes(stopped.stdout)
    assert states["AnomalyGate"] == "failed"
    assert {states[node] for node in ("Transform", "Trainer", "Pusher")} == {"not run"}
    assert project.versions() == before
    assert reran(project.run().stdout) == set()


def test_missing_column_is_one_line_that_names_file_and_column(project) -> None:
    path = project.folder / "input" / "papers.parquet"
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    pq.write_table(pq.read_table(path).drop(["abstract"]), path)
    failed = project.run()
    shutil.move(kept, path)
    assert failed.returncode == 1
    first = failed.stderr.splitlines()[0]
    assert first.startswith("FAILED: node ParquetExampleGen failed: ")
    assert "papers.parquet" in first
    assert "abstract" in first


def test_wrong_type_is_one_line(project) -> None:
    path = project.folder / "input" / "papers.parquet"
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    table = pq.read_table(path)
    column = table.schema.get_field_index("abstract")
    pq.write_table(table.set_column(column, "abstract", pa.array(range(table.num_rows))), path)
    failed = project.run()
    shutil.move(kept, path)
    assert failed.returncode == 1
    assert "abstract" in failed.stderr.splitlines()[0]


def test_configuration_error_comes_before_tensorflow_and_exits_2(project) -> None:
    config = project.folder / "run.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("epochs = 2", "epochs = 0", 1), encoding="utf-8")
    wrong = project.run()
    config.write_text(text, encoding="utf-8")
    assert wrong.returncode == 2
    (line,) = wrong.stderr.splitlines()
    assert "training.phase1.epochs = 0" in line
