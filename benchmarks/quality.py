"""Quality of the pipeline's model against linear models and the notebook's method.

python benchmarks/quality.py CONFIG [--candidates linear,pipeline,notebook] [--ablations]

All train and are scored on the pipeline's own splits. The pipeline's model is what the Trainer
node exports, scored through the SavedModel's raw-text signature. Each finished candidate is kept
under the configuration's output folder, so that a further call does only what is missing, and the
test split is scored once for each.
"""

from __future__ import annotations

import contextlib
import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As pipeline.environment sets it; TensorFlow Transform warns of it when it is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "0"

with contextlib.redirect_stderr(io.StringIO()):
    import tensorflow_transform  # noqa: F401

import hashlib
import inspect
import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import keras
import machine
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import quality_report as report
import sklearn
import tensorflow as tf
import typer
from absl import logging as absl_logging
from quality_report import ABLATION, LINEAR, NOTEBOOK, PIPELINE, Result
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from tfx.components.trainer.fn_args_utils import DataAccessor, FnArgs
from tfx.components.util import tfxio_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import RunOptions
from tfx.types import standard_artifacts
from tfx.utils import json_utils

from components import features
from components.errors import UserError
from components.model.architectures import build_model
from components.model.glove import load_glove
from components.model.settings import ModelSettings
from components.text import clean_python
from components.training import dataset, objective, run_fn
from components.training.device import prepare_device
from components.training.settings import PhaseSettings, TrainingSettings
from components.training.two_phase import predict_logits, train_two_phases
from pipeline import lock
from pipeline.config import PipelineConfig, load_config
from pipeline.display import PlainDisplay
from pipeline.fingerprint import code_fingerprint, file_fingerprint
from pipeline.graph import create_pipeline, read_classes
from pipeline.progress import ProgressHandler
from pipeline.status import RunStore
from pipeline.terminal import captured

Say = Callable[[str], None]
FloatArray = npt.NDArray[np.floating[Any]]

_FIRST, _LAST = "ParquetExampleGen", "Transform"
_EXAMPLES = standard_artifacts.Examples.TYPE_NAME
_SCORED_ROWS = 256

LINEAR_MODELS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: LogisticRegression(C=1.0, max_iter=1000),
    "logistic-c10": lambda: LogisticRegression(C=10.0, max_iter=1000),
    "logistic-balanced": lambda: LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000),
    "logistic-balanced-c10": lambda: LogisticRegression(
        C=10.0, class_weight="balanced", max_iter=1000
    ),
    "svc": lambda: LinearSVC(),
}
# Changed settings of the model and of the training.
ABLATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "without wide path": ({"wide_buckets": 0}, {}),
    "without BiLSTM": ({"lstm_units": 0}, {}),
    "without bag of embeddings": ({"embedding_pooling": []}, {}),
    "wide path alone": ({"lstm_units": 0, "embedding_pooling": []}, {}),
    "without categories": ({}, {"category_loss": 0.0}),
}
_UNADJUSTED = "without logit adjustment"
_NOTEBOOK_WORDS = 40_000
_NOTEBOOK_LENGTH = 150


@dataclass(frozen=True)
class Split:
    """The papers of one split, in an order that does not depend on files.

    Attributes:
      texts: raw abstracts.
      labels: int [n], indices into the classes.
    """

    texts: list[str]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """What the pipeline's nodes made of the corpus.

    Attributes:
      splits: by name.
      classes: in the schema's order.
      examples: folder of the transformed examples.
      transform_graph: its folder.
      trainer: the Trainer node's ``custom_config``.
      transform: hash of all that the transformed examples depend on besides the papers.
      folder: for what the benchmark keeps.
    """

    splits: dict[str, Split]
    classes: list[str]
    examples: Path
    transform_graph: Path
    trainer: dict[str, Any]
    transform: str
    folder: Path

    @cached_property
    def digest(self) -> str:
        """SHA-256 of texts and labels of all splits, hex."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            digest.update(name.encode() + split.labels.tobytes())
            digest.update("\0".join(split.texts).encode())
        return digest.hexdigest()

    @property
    def labels(self) -> dict[str, npt.NDArray[np.int64]]:
        return {name: split.labels for name, split in self.splits.items()}


@dataclass(frozen=True)
class Candidate:
    """Something to train and score.

    Attributes:
      identity: JSON values on which its scores depend, besides the papers.
      train: takes a folder for its unfinished state; gives the scores of the splits eval and test
        and what :class:`Result` keeps as ``meta``.
    """

    name: str
    kind: str
    seed: int | None
    identity: Mapping[str, Any]
    train: Callable[[Path], tuple[FloatArray, FloatArray, dict[str, Any]]]

    @property
    def title(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def prepare_data(config: PipelineConfig, say: Say) -> Data:
    """Runs the nodes up to Transform; unchanged ones come from the cache."""
    whole = create_pipeline(config)
    by_id = {node.id: node for node in whole.components}
    wanted, waiting = set(), [by_id[_LAST]]
    while waiting:
        node = waiting.pop()
        wanted.add(node.id)
        waiting += node.upstream_nodes
    with lock.exclusive(config.metadata_file, config.run.lock_wait_seconds, say):
        store = RunStore(config.metadata_file)
        known = store.run_ids()
        handler = ProgressHandler([name for name in by_id if name in wanted], PlainDisplay(say))
        logging.getLogger().addHandler(handler)
        try:
            LocalDagRunner().run(whole, run_options=RunOptions(to_nodes=[_LAST]))
        finally:
            logging.getLogger().removeHandler(handler)
        run_id = max(store.run_ids() - known, default=None)
        uris = {
            (status.node, artifact.type): Path(artifact.uri)
            for status in store.nodes(run_id, [_FIRST, _LAST])
            if status.execution_id is not None
            for artifact in store.outputs(status.execution_id)
        }
    classes = read_classes(config.data.schema_file)
    transform = [
        json.dumps(config.transform.model_dump(mode="json"), sort_keys=True),
        code_fingerprint("components.transform.preprocessing"),
    ]
    return Data(
        splits={
            name: read_split(uris[_FIRST, _EXAMPLES], name, classes) for name in features.SPLITS
        },
        classes=classes,
        examples=uris[_LAST, _EXAMPLES],
        transform_graph=uris[_LAST, standard_artifacts.TransformGraph.TYPE_NAME],
        trainer=json_utils.loads(by_id["Trainer"].exec_properties["custom_config"]),
        transform=_hash(transform),
        folder=config.output_dir / "quality",
    )


def read_split(examples: Path, split: str, classes: Sequence[str]) -> Split:
    """Reads the raw papers of a split that ParquetExampleGen wrote."""
    files = sorted(map(str, (examples / f"Split-{split}").glob("*")))
    rows = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        columns = (features.ID, features.ABSTRACT, features.LABEL)
        rows.append([(*feature[name].bytes_list.value, b"")[0].decode() for name in columns])
    rows.sort()
    ids = {name: index for index, name in enumerate(classes)}
    return Split([row[1] for row in rows], np.array([ids[row[2]] for row in rows], np.int64))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass
class LinearFeatures:
    """TF-IDF over words and word pairs of the cleaned abstracts, computed when first asked for."""

    data: Data
    seconds: float = field(default=0.0, init=False)

    @cached_property
    def matrices(self) -> dict[str, Any]:
        """Sparse [n, terms] by split."""
        texts = {
            name: [clean_python(text) for text in split.texts]
            for name, split in self.data.splits.items()
        }
        started = time.monotonic()
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        train = vectorizer.fit_transform(texts[features.TRAIN])
        self.seconds = time.monotonic() - started
        return {
            features.TRAIN: train,
            features.EVAL: vectorizer.transform(texts[features.EVAL]),
            features.TEST: vectorizer.transform(texts[features.TEST]),
        }


def linear_candidate(name: str, source: LinearFeatures) -> Candidate:
    """A linear model over TF-IDF."""
    data = source.data

    def train(_: Path) -> tuple[FloatArray, FloatArray, dict[str, Any]]:
        matrices = source.matrices
        model = LINEAR_MODELS[name]()
        started = time.monotonic()
        model.fit(matrices[features.TRAIN], data.splits[features.TRAIN].labels)
        seconds = source.seconds + time.monotonic() - started
        probabilistic = hasattr(model, "predict_log_proba")
        score = model.predict_log_proba if probabilistic else model.decision_function
        scores = []
        for split in (features.EVAL, features.TEST):
            # A class that the train split lacks never wins.
            wide = np.full((matrices[split].shape[0], len(data.classes)), -1e3)
            wide[:, model.classes_] = score(matrices[split])
            scores.append(wide)
        meta = {"seconds": round(seconds, 1), "probabilistic": probabilistic, "device": ""}
        return scores[0], scores[1], meta

    identity = {
        "model": repr(LINEAR_MODELS[name]()),
        "scikit-learn": sklearn.__version__,
        "code": [
            inspect.getsource(LinearFeatures),
            inspect.getsource(linear_candidate),
            code_fingerprint("components.text"),
        ],
    }
    return Candidate(f"TF-IDF, {name}", LINEAR, None, identity, train)


def pipeline_candidate(
    data: Data,
    seed: int,
    name: str = "pipeline",
    kind: str = PIPELINE,
    model: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Candidate:
    """The Trainer node's own model for a seed, with some settings changed.

    Args:
      model, training: changed settings of the two groups.
    """
    config = dict(data.trainer)
    config["model"] = ModelSettings.model_validate({**config["model"], **(model or {})}).model_dump(
        mode="json"
    )
    config["training"] = TrainingSettings.model_validate(
        {**config["training"], **(training or {}), "seed": seed}
    ).model_dump(mode="json")

    def train(state: Path) -> tuple[FloatArray, FloatArray, dict[str, Any]]:
        place = state / "output"
        shutil.rmtree(place, ignore_errors=True)
        run_fn.run_fn(_trainer_arguments(data, {**config, "checkpoint_dir": str(state)}, place))
        trained = json.loads((place / "run" / run_fn.REPORT).read_text(encoding="utf-8"))
        loaded = tf.saved_model.load(str(place / "model"))
        scores = [
            score_texts(loaded, data.splits[split].texts, len(data.classes))
            for split in (features.EVAL, features.TEST)
        ]
        before = trained["history"][: trained["resumed_epochs"]]
        meta = {
            "seconds": trained["seconds"] + sum(record["seconds"] for record in before),
            "probabilistic": True,
            "device": trained["device"],
            "parameters": trained["parameters"],
            "temperature": trained["temperature"],
            "logit_bias": trained["logit_bias"],
            "best": trained["best"],
            "history": trained["history"],
        }
        return scores[0], scores[1], meta

    identity = {
        "transform": data.transform,
        "code": [inspect.getsource(pipeline_candidate), inspect.getsource(score_texts)],
        **{key: config[key] for key in config if key not in ("checkpoint_dir", "glove")},
    }
    return Candidate(name, kind, seed, identity, train)


def _trainer_arguments(data: Data, config: Mapping[str, Any], place: Path) -> FnArgs:
    """What TFX hands to the Trainer's ``run_fn``, as far as it reads it."""
    examples = standard_artifacts.Examples()
    examples.uri = str(data.examples)
    return FnArgs(
        train_files=[str(data.examples / f"Split-{features.TRAIN}" / "*")],
        eval_files=[str(data.examples / f"Split-{features.EVAL}" / "*")],
        transform_output=str(data.transform_graph),
        transform_graph_path=str(data.transform_graph),
        data_accessor=DataAccessor(
            tf_dataset_factory=tfxio_utils.get_tf_dataset_factory_from_artifact([examples], []),
            record_batch_factory=None,
            data_view_decode_fn=None,
        ),
        serving_model_dir=str(place / "model"),
        model_run_dir=str(place / "run"),
        custom_config=dict(config),
    )


def score_texts(loaded: Any, texts: Sequence[str], classes: int) -> FloatArray:
    """Log-probabilities of raw abstracts, float32 [n, k], by the SavedModel's text signature."""
    signature = loaded.signatures[features.SERVING_TEXT]
    order = np.argsort([len(text) for text in texts], kind="stable")
    scores = np.empty((len(texts), classes), np.float32)
    for start in range(0, len(texts), _SCORED_ROWS):
        rows = order[start : start + _SCORED_ROWS]
        abstracts = tf.constant([texts[row] for row in rows])
        scores[rows] = signature(**{features.ABSTRACT: abstracts})[features.SCORES_OUTPUT].numpy()
    return np.log(np.maximum(scores, np.finfo(np.float32).tiny))


def unadjusted(result: Result, labels: npt.NDArray[np.int64]) -> Result:
    """The same trained model exported without logit adjustment, its temperature fitted anew."""
    temperature, bias = result.meta["temperature"], np.asarray(result.meta["logit_bias"])
    evaluation, test = (
        temperature * scores - bias for scores in (result.eval_scores, result.test_scores)
    )
    refitted = objective.fit_temperature(evaluation, labels)
    meta = {key: value for key, value in result.meta.items() if key != "logit_bias"}
    return Result(
        _UNADJUSTED,
        ABLATION,
        result.seed,
        evaluation / refitted,
        test / refitted,
        {**meta, "temperature": refitted},
    )


def notebook_settings(config: TrainingSettings, seed: int) -> TrainingSettings:
    """The notebook's training, with vectors as wide as those of ``config``."""
    return TrainingSettings(
        phase1=PhaseSettings(epochs=8, learning_rate=1e-3, patience=6),
        phase2=PhaseSettings(epochs=50, learning_rate=1e-4, patience=6),
        batch_size=64,
        seed=seed,
        whole_loss=1.0,
        path_loss=0.0,
        category_loss=0.0,
        class_weighting=1.0,
        logit_adjustment=0.0,
        fit_temperature=False,
        length_buckets=(),
        missing_words="zeros",
        embedding_dim=config.embedding_dim,
    )


def notebook_examples(data: Data) -> tuple[dict[str, dataset.Examples], list[str]]:
    """Splits as the notebook's tokenizer gives them, and its words.

    The words are those of the train split by falling count; an abstract keeps its last words and is
    padded on the right.
    """
    words = {
        name: [clean_python(text).split() for text in split.texts]
        for name, split in data.splits.items()
    }
    counts = Counter(word for text in words[features.TRAIN] for word in text)
    known = _NOTEBOOK_WORDS - features.FIRST_WORD_ID
    vocabulary = [word for word, _ in counts.most_common(known)]
    ids = {word: index for index, word in enumerate(vocabulary, features.FIRST_WORD_ID)}
    splits = {}
    for name, split in data.splits.items():
        tokens = np.full((len(split.texts), _NOTEBOOK_LENGTH), features.PAD_ID, np.int32)
        for row, text in zip(tokens, words[name], strict=True):
            kept = text[-_NOTEBOOK_LENGTH:]
            row[: len(kept)] = [ids.get(word, features.OOV_ID) for word in kept]
        lengths = (tokens != features.PAD_ID).sum(axis=1).astype(np.int32)
        none = np.full(len(tokens), -1, np.int32)
        splits[name] = dataset.Examples(tokens, split.labels.astype(np.int32), none, lengths)
    return splits, vocabulary


def notebook_candidate(data: Data, seed: int, epochs: int | None) -> Candidate:
    """The notebook's method as it was.

    Args:
      epochs: most epochs of a phase, for a smoke test; None for the notebook's own.
    """
    settings = notebook_settings(TrainingSettings.model_validate(data.trainer["training"]), seed)
    if epochs is not None:
        phases = {
            name: getattr(settings, name).model_copy(update={"epochs": epochs})
            for name in ("phase1", "phase2")
        }
        settings = settings.model_copy(update=phases)

    def train(state: Path) -> tuple[FloatArray, FloatArray, dict[str, Any]]:
        started = time.monotonic()
        keras.utils.set_random_seed(seed)
        device = prepare_device(len(os.sched_getaffinity(0)))
        splits, words = notebook_examples(data)
        matrix, _ = load_glove(
            Path(data.trainer["glove"]),
            words,
            settings.embedding_dim,
            how=settings.missing_words,
        )
        classes = len(data.classes)
        with device.strategy.scope():
            model = build_model(
                ModelSettings(architecture="notebook"), matrix, _NOTEBOOK_LENGTH, classes
            )
        outcome = train_two_phases(
            model,
            splits[features.TRAIN],
            splits[features.EVAL],
            settings,
            classes=classes,
            state_dir=state / "state",
            log_dir=state / "logs",
            strategy=device.strategy,
        )
        before = outcome.history[: outcome.resumed_epochs]
        seconds = time.monotonic() - started + sum(record["seconds"] for record in before)
        meta = {
            "seconds": round(seconds, 1),
            "probabilistic": True,
            "device": device.description,
            "parameters": model.count_params(),
            "best": outcome.best,
            "history": outcome.history,
        }
        return (
            predict_logits(model, splits[features.EVAL], settings),
            predict_logits(model, splits[features.TEST], settings),
            meta,
        )

    identity = {
        "training": settings.model_dump(mode="json"),
        "glove_sha256": data.trainer["glove_sha256"],
        "code": [
            inspect.getsource(notebook_candidate),
            inspect.getsource(notebook_examples),
            code_fingerprint("components.training.two_phase", "components.model.glove"),
        ],
    }
    return Candidate("notebook's method", NOTEBOOK, seed, identity, train)


def finish(candidate: Candidate, data: Data, say: Say) -> Result:
    """Trains and scores a candidate, or takes what an earlier call has kept of it."""
    key = _hash([candidate.identity, data.digest, candidate.seed])[:24]
    kept = data.folder / f"{key}.npz"
    if kept.is_file():
        with np.load(kept) as arrays:
            meta = json.loads(str(arrays["meta"]))
            say(f"{candidate.title}: kept ({meta['seconds']:.0f} s of training)")
            return Result(
                candidate.name,
                candidate.kind,
                candidate.seed,
                arrays["eval_scores"],
                arrays["test_scores"],
                meta,
            )
    say(f"{candidate.title}: training ...")
    state = data.folder / "unfinished" / key
    state.mkdir(parents=True, exist_ok=True)
    eval_scores, test_scores, meta = candidate.train(state)
    meta |= {"commit": machine.commit(), "processor": machine.processor()}
    new = kept.with_suffix(".new.npz")
    np.savez_compressed(
        new, eval_scores=eval_scores, test_scores=test_scores, meta=np.array(json.dumps(meta))
    )
    new.replace(kept)
    shutil.rmtree(state)
    keras.backend.clear_session()
    say(f"{candidate.title}: done ({meta['seconds']:.0f} s of training)")
    return Result(candidate.name, candidate.kind, candidate.seed, eval_scores, test_scores, meta)


def small_config(config: PipelineConfig, rows: int) -> PipelineConfig:
    """The configuration on ``rows`` papers spread over its parquet, in an output folder of its own.

    Raises:
      UserError: the parquet is a glob.
    """
    if not config.data.parquet.is_file():
        raise UserError(f"data.parquet = {config.data.parquet}: --rows needs a single file")
    folder = config.output_dir / f"quality-{rows}-rows"
    folder.mkdir(parents=True, exist_ok=True)
    # Not written anew: TFX's cache goes by the time of the file.
    small = folder / f"{file_fingerprint(config.data.parquet)[:16]}.parquet"
    if not small.is_file():
        table = pq.read_table(config.data.parquet)
        chosen = np.random.default_rng(0).permutation(table.num_rows)[:rows]
        pq.write_table(table.take(np.sort(chosen)), small)
    return config.model_copy(
        update={
            "run": config.run.model_copy(update={"output_dir": folder}),
            "data": config.data.model_copy(update={"parquet": small}),
        }
    )


def choose(names: str, seeds: str) -> tuple[list[str], list[int]]:
    """Reads the two lists of the command line.

    Raises:
      typer.BadParameter: an unknown candidate, or a seed that is no number.
    """
    known = {LINEAR: list(LINEAR_MODELS), PIPELINE: [PIPELINE], NOTEBOOK: [NOTEBOOK]}
    known |= {name: [name] for name in LINEAR_MODELS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise typer.BadParameter(
            f"candidates: {', '.join(unknown) or 'none'}; allowed are {', '.join(known)}"
        )
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise typer.BadParameter(f"seeds: {seeds!r}; expected numbers such as 1,2,3") from None
    chosen = [candidate for name in wanted for candidate in known[name]]
    return list(dict.fromkeys(chosen)), list(dict.fromkeys(numbers))


def make_candidates(
    data: Data, names: Sequence[str], seeds: Sequence[int], ablations: bool, epochs: int | None
) -> list[Candidate]:
    """The candidates in the order of the tables."""
    source = LinearFeatures(data)
    candidates = [linear_candidate(name, source) for name in LINEAR_MODELS if name in names]
    if NOTEBOOK in names:
        candidates.append(notebook_candidate(data, seeds[0], epochs))
    if PIPELINE in names:
        candidates += [pipeline_candidate(data, seed) for seed in seeds]
    if ablations:
        candidates += [
            pipeline_candidate(data, seeds[0], name, ABLATION, model, training)
            for name, (model, training) in ABLATIONS.items()
        ]
    return candidates


def main(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    seeds: Annotated[str, typer.Option(help="Of the pipeline's model.")] = "1,2,3",
    candidates: Annotated[
        str,
        typer.Option(help="Of linear, pipeline and notebook (long), or names of linear models."),
    ] = f"{LINEAR},{PIPELINE}",
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also the model without each of its parts.")
    ] = False,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder of quality.md, .json and .svg.")
    ] = Path(__file__).parent / "results",
    rows: Annotated[
        int | None, typer.Option(min=500, help="Smoke test on that many papers.")
    ] = None,
    notebook_epochs: Annotated[
        int | None, typer.Option(min=1, help="Smoke test: most epochs a phase of the notebook's.")
    ] = None,
) -> None:
    """Trains and scores what is missing, prints the tables and keeps them."""
    names, numbers = choose(candidates, seeds)
    settings = load_config(config)
    if rows is not None:
        settings = small_config(settings, rows)
    with captured(settings.log_dir / "quality.log") as terminal:
        absl_logging.set_verbosity(absl_logging.INFO)
        say = terminal.say
        say(f"log in {settings.log_dir / 'quality.log'}")
        data = prepare_data(settings, say)
        progress = ProgressHandler([], PlainDisplay(say))
        logging.getLogger().addHandler(progress)
        results: list[Result] = []
        for candidate in make_candidates(data, names, numbers, ablations, notebook_epochs):
            results.append(finish(candidate, data, say))
        if ablations:
            whole = [result for result in results if result.kind == PIPELINE][:1]
            results += [unadjusted(result, data.labels[features.EVAL]) for result in whole]
        say("bootstrap and tables ...")
        header = {
            "commit": machine.commit(),
            "processor": machine.processor(),
            "rows": {name: len(split.labels) for name, split in data.splits.items()},
            "data": data.digest,
        }
        made = report.make_report(results, data.labels, data.classes, header)
        files = report.write_report(made, out)
        logging.getLogger().removeHandler(progress)
    print(report.markdown(made))
    print("\n".join(map(str, files)))


if __name__ == "__main__":
    typer.run(main)
