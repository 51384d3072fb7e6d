"""Compares the quality of the pipeline's model with linear models and the notebook's method.

python benchmarks/quality.py CONFIG [--candidates linear,pipeline,notebook] [--ablations]

All candidates use the pipeline's splits. The pipeline's model is the Trainer node's export, scored
through the SavedModel's raw-text signature. Each finished candidate's scores are kept under the
configuration's output folder, and the tables are rewritten after each. Further calls train only
what is missing and resume a killed training. The test split is scored once for each candidate, and
not at all for ablations.
"""

from __future__ import annotations

import contextlib
import io
import os

from components.arrow import pq

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As in pipeline.environment; importing TensorFlow Transform warns of it.
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
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import keras
import machine
import numpy as np
import numpy.typing as npt
import quality_report as report
import sklearn
import tensorflow as tf
import tomli
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

from components.contracts import artifact_files, features, node_ids
from components.contracts.manifest import file_digest
from components.errors import UserError
from components.metadata_store import MetadataStore
from components.model.architectures import build_model
from components.model.model_settings import ModelSettings
from components.model.word_vectors import load_glove
from components.settings import Settings
from components.text.cleaning import clean_python
from components.training import dataset, objective, run_fn
from components.training.device import prepare_device
from components.training.phase import make_phases, predict_logits
from components.training.training_loop import train as train_phases
from components.training.training_settings import TrainingSettings
from components.validation.reviewed_files import read_classes
from pipeline.config.pipeline_config import PipelineConfig, TransformSettings, load_config
from pipeline.fingerprint import code_fingerprint
from pipeline.graph import create_pipeline
from pipeline.launch.progress import PlainDisplay, ProgressHandler
from pipeline.launch.terminal import captured
from pipeline.runs import lock

Say = Callable[[str], None]
FloatArray = npt.NDArray[np.floating[Any]]

_FIRST, _LAST = node_ids.EXAMPLE_GEN, node_ids.TRANSFORM
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
    "svc-balanced": lambda: LinearSVC(class_weight="balanced"),
}
_METHOD, _CONFIGURED = "notebook-method", "notebook-configuration"
_UNADJUSTED, _UNCALIBRATED = "without logit adjustment", "without temperature"
_NOTEBOOK_CONFIG = Path(__file__).parents[1] / "pipeline" / "config" / "notebook.toml"
_SETTINGS: dict[str, type[Settings]] = {"model": ModelSettings, "training": TrainingSettings}


def ablations(training: TrainingSettings) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns changed settings by group, for each part that the model can do without."""
    still = training.phase2.model_copy(
        update={"epochs": training.phase1.epochs + training.phase2.epochs}
    )
    # A phase has at least one epoch; at this learning rate it changes no metric visibly.
    none = {"epochs": 1, "learning_rate": 1e-9, "schedule": "constant"}
    return {
        "without BiLSTM": {"model": {"lstm_units": 0}},
        "without wide n-grams": {"model": {"wide_ngrams": 0}},
        "without prefixes of words": {"model": {"wide_letters": 0}},
        "without categories": {"model": {"categories": False}},
        "without phase 2": {"training": {"phase2": none}},
        "phase 1 as long as both": {"training": {"phase1": still.model_dump(), "phase2": none}},
    }


@dataclass(frozen=True)
class Split:
    """Raw abstracts and class ids, int64 [n], of a split, in an order independent of the files."""

    texts: list[str]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """The outputs of the pipeline's data nodes.

    Attributes:
        splits: by name.
        classes: in the schema's order.
        examples: folder of the transformed examples.
        transform_graph: folder of the transform graph.
        trainer: the Trainer node's ``custom_config``.
        transform: see :func:`transform_identity`.
        folder: where the benchmark keeps its results.
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
        """Hex SHA-256 of texts and labels of all splits."""
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
    """A model to train and score.

    Attributes:
        identity: JSON values on which its scores depend, besides the papers.
        train: takes a folder for unfinished state; returns the scores of the splits eval and test
            (None for ablations) and the ``meta`` of :class:`Result`.
    """

    name: str
    kind: str
    seed: int | None
    identity: Mapping[str, Any]
    train: Callable[[Path], tuple[FloatArray, FloatArray | None, dict[str, Any]]]

    @property
    def title(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def prepare_data(config: PipelineConfig, say: Say) -> Data:
    """Runs the nodes up to Transform, with caching."""
    whole = create_pipeline(config)
    by_id = {node.id: node for node in whole.components}
    wanted, waiting = set(), [by_id[_LAST]]
    while waiting:
        node = waiting.pop()
        wanted.add(node.id)
        waiting += node.upstream_nodes
    with lock.exclusive(config.folder, config.run.lock_wait_seconds, say):
        store = MetadataStore(config.folder.metadata_file, create=True)
        handler = ProgressHandler([name for name in by_id if name in wanted], PlainDisplay(say))
        logging.getLogger().addHandler(handler)
        try:
            LocalDagRunner().run(whole, run_options=RunOptions(to_nodes=[_LAST]))
        finally:
            logging.getLogger().removeHandler(handler)
        run_id = store.run_ids()[-1]
        uris = {
            (execution.node, artifact.type): Path(artifact.uri)
            for execution in store.lineage(run_id).latest(run_id).values()
            for artifact in execution.put_out
        }
    classes = read_classes(config.data.schema_file)
    return Data(
        splits={
            name: read_split(uris[_FIRST, _EXAMPLES], name, classes) for name in features.SPLITS
        },
        classes=classes,
        examples=uris[_LAST, _EXAMPLES],
        transform_graph=uris[_LAST, standard_artifacts.TransformGraph.TYPE_NAME],
        trainer=json_utils.loads(by_id[node_ids.TRAINER].exec_properties["custom_config"]),
        transform=transform_identity(config),
        folder=config.folder.path / "quality",
    )


def transform_identity(config: PipelineConfig) -> str:
    """Returns a hash of all that the transformed examples depend on, besides the papers."""
    return _hash(
        [
            json.dumps(config.transform.model_dump(mode="json"), sort_keys=True),
            code_fingerprint("components.transform.preprocessing"),
        ]
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
            code_fingerprint("components.text.cleaning"),
        ],
    }
    return Candidate(f"TF-IDF, {name}", LINEAR, None, identity, train)


def pipeline_candidate(
    data: Data,
    seed: int,
    name: str = PIPELINE,
    kind: str = PIPELINE,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Candidate:
    """Returns the Trainer node's model for a seed, with changed settings by group."""
    config = changed(data.trainer, seed, changes or {})
    identity = {"transform": data.transform, **trained_identity(config)}
    return Candidate(
        name,
        kind,
        seed,
        identity,
        lambda state: train_by_run_fn(data, config, state, test=kind != ABLATION),
    )


def changed(
    trainer: Mapping[str, Any], seed: int, changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the Trainer's ``custom_config`` with changed settings; phases may be partial."""
    config = dict(trainer)
    for group, kind in _SETTINGS.items():
        values = {**config[group]}
        for name, value in changes.get(group, {}).items():
            values[name] = {**values[name], **value} if isinstance(value, Mapping) else value
        if group == "training":
            values["seed"] = seed
        config[group] = kind.model_validate(values).model_dump(mode="json")
    return config


def trained_identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all that a training by ``run_fn`` depends on, besides the examples."""
    code = [inspect.getsource(train_by_run_fn), inspect.getsource(score_texts)]
    return {
        "code": code,
        **{key: config[key] for key in config if key not in ("checkpoint_dir", "glove")},
    }


def train_by_run_fn(
    data: Data, config: Mapping[str, Any], state: Path, *, test: bool
) -> tuple[FloatArray, FloatArray | None, dict[str, Any]]:
    """Runs the Trainer node's function and scores what it exports."""
    place = state / "output"
    written = place / "run" / artifact_files.TRAINING_REPORT
    # Written last: with it, an earlier call was killed while it scored the model.
    if not written.is_file():
        shutil.rmtree(place, ignore_errors=True)
        run_fn.run_fn(_trainer_arguments(data, {**config, "checkpoint_dir": str(state)}, place))
    trained = json.loads(written.read_text(encoding="utf-8"))
    loaded = tf.saved_model.load(str(place / "model"))

    def scores(split: str) -> FloatArray:
        return score_texts(loaded, data.splits[split].texts, len(data.classes))

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
    return scores(features.EVAL), scores(features.TEST) if test else None, meta


def _trainer_arguments(data: Data, config: Mapping[str, Any], place: Path) -> FnArgs:
    """Returns TFX's arguments of the Trainer's ``run_fn``, as far as it uses them."""
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


def without_calibration(result: Result, labels: npt.NDArray[np.int64]) -> list[Result]:
    """Returns results of the same model without logit adjustment, and without temperature.

    Without logit adjustment, the temperature is fitted again on the eval split's ``labels``.
    """
    temperature, bias = result.meta["temperature"], np.asarray(result.meta["logit_bias"])
    adjusted = temperature * result.eval_scores
    plain = adjusted - bias
    refitted = objective.fit_temperature(plain, labels)
    meta = {key: value for key, value in result.meta.items() if key != "logit_bias"}
    return [
        Result(name, ABLATION, result.seed, scores, None, {**meta, "temperature": fitted})
        for name, scores, fitted in (
            (_UNADJUSTED, plain / refitted, refitted),
            (_UNCALIBRATED, adjusted, 1.0),
        )
    ]


def notebook_tables(embedding_dim: int, seed: int, epochs: int | None) -> dict[str, Any]:
    """Returns the tables of ``notebook.toml``, validated: transform, model and training.

    Args:
        embedding_dim: dimension of the word vectors.
        seed: seed of the training.
        epochs: epochs per phase in a smoke test; None for the notebook's own.
    """
    tables = tomli.loads(_NOTEBOOK_CONFIG.read_text(encoding="utf-8"))
    training = {**tables["training"], "embedding_dim": embedding_dim, "seed": seed}
    if epochs is not None:
        for phase in ("phase1", "phase2"):
            training[phase] = {**training[phase], "epochs": epochs}
    return {
        "transform": TransformSettings.model_validate(tables["transform"]),
        "model": ModelSettings.model_validate(tables["model"]),
        "training": TrainingSettings.model_validate(training),
    }


def notebook_examples(
    data: Data, settings: TransformSettings
) -> tuple[dict[str, dataset.Examples], list[str]]:
    """Splits as the notebook's tokenizer gives them, and its words.

    The words are those of the train split by falling count; an abstract keeps its last words and is
    padded on the right.
    """
    words = {
        name: [clean_python(text).split() for text in split.texts]
        for name, split in data.splits.items()
    }
    counts = Counter(word for text in words[features.TRAIN] for word in text)
    known = settings.vocabulary_size - features.FIRST_WORD_ID
    vocabulary = [word for word, _ in counts.most_common(known)]
    ids = {word: index for index, word in enumerate(vocabulary, features.FIRST_WORD_ID)}
    splits = {}
    for name, split in data.splits.items():
        tokens = np.full((len(split.texts), settings.sequence_length), features.PAD_ID, np.int32)
        for row, text in zip(tokens, words[name], strict=True):
            kept = text[-settings.sequence_length :]
            row[: len(kept)] = [ids.get(word, features.OOV_ID) for word in kept]
        none = np.full(len(tokens), -1, np.int32)
        splits[name] = dataset.Examples(tokens, split.labels.astype(np.int32), none)
    return splits, vocabulary


def notebook_candidate(data: Data, seed: int, epochs: int | None) -> Candidate:
    """The notebook's method as it was: its tokens too, which keep the end of a long abstract.

    Args:
        epochs: see :func:`notebook_tables`.
    """
    tables = notebook_tables(data.trainer["training"]["embedding_dim"], seed, epochs)
    settings: TrainingSettings = tables["training"]

    def train(state: Path) -> tuple[FloatArray, FloatArray, dict[str, Any]]:
        started = time.monotonic()
        keras.utils.set_random_seed(seed)
        device = prepare_device(len(os.sched_getaffinity(0)))
        splits, words = notebook_examples(data, tables["transform"])
        matrix, _ = load_glove(Path(data.trainer["glove"]), words, settings.embedding_dim)
        classes = len(data.classes)
        with device.strategy.scope():
            model = build_model(
                tables["model"], matrix, tables["transform"].sequence_length, classes
            )
        outcome = train_phases(
            model,
            make_phases(model, settings),
            splits[features.TRAIN],
            splits[features.EVAL],
            state_dir=state / "state",
            log_dir=state / "logs",
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
        **{name: group.model_dump(mode="json") for name, group in tables.items()},
        "glove_sha256": data.trainer["glove_sha256"],
        "code": [
            inspect.getsource(notebook_candidate),
            inspect.getsource(notebook_examples),
            code_fingerprint(
                "components.training.training_loop",
                "components.training.phase",
                "components.model.word_vectors",
            ),
        ],
    }
    return Candidate("notebook's method", NOTEBOOK, seed, identity, train)


def notebook_configuration(
    config: PipelineConfig, data: Data, seed: int, epochs: int | None, say: Say
) -> Candidate:
    """Returns the notebook's network as configured by ``notebook.toml``, on this pipeline's tokens.

    ``epochs`` as in :func:`notebook_tables`.
    """
    tables = notebook_tables(config.training.embedding_dim, seed, epochs)
    own = config.model_copy(update=tables)
    trainer = changed(
        data.trainer, seed, {name: tables[name].model_dump(mode="json") for name in _SETTINGS}
    )

    def train(state: Path) -> tuple[FloatArray, FloatArray | None, dict[str, Any]]:
        return train_by_run_fn(prepare_data(own, say), trainer, state, test=True)

    identity = {"transform": transform_identity(own), **trained_identity(trainer)}
    return Candidate("notebook.toml", NOTEBOOK, seed, identity, train)


def _key(candidate: Candidate, data: Data) -> str:
    return _hash([candidate.identity, data.digest, candidate.seed])[:24]


def kept_result(candidate: Candidate, data: Data, *, older: bool) -> Result | None:
    """Returns a candidate's kept result; None if there is none.

    Args:
        candidate: the candidate.
        data: its data.
        older: else take the latest result of its name and seed on the same papers, of any code or
            settings.
    """
    file = data.folder / f"{_key(candidate, data)}.npz"
    if file.is_file():
        return _read(file, candidate)
    if not older:
        return None
    for other in sorted(data.folder.glob("*.npz"), key=lambda path: -path.stat().st_mtime_ns):
        with np.load(other) as arrays:
            meta = json.loads(str(arrays["meta"]))
        wanted = [candidate.name, candidate.kind, candidate.seed, data.digest]
        if meta.get("of") == wanted:
            return _read(other, candidate)
    return None


def _read(file: Path, candidate: Candidate) -> Result:
    with np.load(file) as arrays:
        test = arrays.get("test_scores")
        meta = json.loads(str(arrays["meta"]))
        return Result(
            candidate.name, candidate.kind, candidate.seed, arrays["eval_scores"], test, meta
        )


def finish(candidate: Candidate, data: Data, say: Say) -> Result:
    """Trains and scores a candidate, and keeps its scores."""
    say(f"{candidate.title}: training ...")
    key = _key(candidate, data)
    state = data.folder / "unfinished" / key
    state.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    eval_scores, test_scores, meta = candidate.train(state)
    meta |= {
        "of": [candidate.name, candidate.kind, candidate.seed, data.digest],
        "commit": machine.commit(),
        "processor": machine.processor(),
        "processor_seconds": round(time.process_time() - started, 1),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    arrays = {"eval_scores": eval_scores, "meta": np.array(json.dumps(meta))}
    if test_scores is not None:
        arrays["test_scores"] = test_scores
    kept = data.folder / f"{key}.npz"
    new = kept.with_suffix(".new")
    with new.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    new.replace(kept)
    shutil.rmtree(state)
    keras.backend.clear_session()
    say(f"{candidate.title}: done ({meta['seconds']:.0f} s of training)")
    return _read(kept, candidate)


def small_config(config: PipelineConfig, rows: int) -> PipelineConfig:
    """Returns the configuration for ``rows`` random papers, with a separate output folder.

    Raises:
        UserError: the parquet is a glob.
    """
    if not config.data.parquet.is_file():
        raise UserError(f"data.parquet = {config.data.parquet}: --rows needs a single file")
    folder = config.folder.path / f"quality-{rows}-rows"
    folder.mkdir(parents=True, exist_ok=True)
    small = folder / f"{file_digest(config.data.parquet)[:16]}.parquet"
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


def choose(names: str) -> list[str]:
    """Parses the command line's list of candidates; "none" is empty.

    Raises:
        typer.BadParameter: an unknown candidate.
    """
    known = {LINEAR: list(LINEAR_MODELS), NOTEBOOK: [_METHOD, _CONFIGURED], "none": []}
    known |= {name: [name] for name in (*LINEAR_MODELS, PIPELINE, _METHOD, _CONFIGURED)}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise typer.BadParameter(
            f"candidates: {', '.join(unknown) or 'an empty list'}; allowed are {', '.join(known)}"
        )
    return list(dict.fromkeys(candidate for name in wanted for candidate in known[name]))


def numbers_of(seeds: str) -> list[int]:
    """Parses the command line's list of seeds.

    Raises:
        typer.BadParameter: one is not a number.
    """
    try:
        return list(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    except ValueError:
        raise typer.BadParameter(f"seeds: {seeds!r}; expected numbers such as 1,2,3") from None


def make_candidates(
    config: PipelineConfig,
    data: Data,
    seeds: Sequence[int],
    ablation_seeds: Sequence[int],
    epochs: int | None,
    say: Say,
) -> list[tuple[str, Candidate]]:
    """Returns all candidates in the order of the tables, with their names on the command line."""
    source = LinearFeatures(data)
    candidates = [(name, linear_candidate(name, source)) for name in LINEAR_MODELS]
    candidates.append((_METHOD, notebook_candidate(data, seeds[0], epochs)))
    candidates.append((_CONFIGURED, notebook_configuration(config, data, seeds[0], epochs, say)))
    candidates += [(PIPELINE, pipeline_candidate(data, seed)) for seed in seeds]
    training = TrainingSettings.model_validate(data.trainer["training"])
    candidates += [
        (ABLATION, pipeline_candidate(data, seed, name, ABLATION, changes))
        for name, changes in ablations(training).items()
        for seed in ablation_seeds
    ]
    return candidates


def main(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, resolve_path=True)],
    seeds: Annotated[str, typer.Option(help="Of the pipeline's model.")] = "1,2,3",
    candidates: Annotated[
        str,
        typer.Option(
            help="To train where missing: of linear, pipeline and notebook (long; or of "
            "notebook-method and notebook-configuration), or names of linear models, or none."
        ),
    ] = f"{LINEAR},{PIPELINE}",
    with_ablations: Annotated[
        bool, typer.Option("--ablations", help="Also train the model without each of its parts.")
    ] = False,
    ablation_seeds: Annotated[
        str, typer.Option(help="Of the ablations; by default the pipeline's first.")
    ] = "",
    older: Annotated[
        bool,
        typer.Option(
            "--older",
            help="Of candidates not to be trained now, show the latest result even where the code "
            "has changed since.",
        ),
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
    """Trains and scores what is missing, and prints and writes the tables."""
    names, numbers = choose(candidates), numbers_of(seeds)
    if with_ablations:
        names.append(ABLATION)
    parts = numbers_of(ablation_seeds) if ablation_seeds else numbers[:1]
    settings = load_config(config)
    if rows is not None:
        settings = small_config(settings, rows)
    with captured(settings.folder.log_dir / "quality.log") as terminal:
        absl_logging.set_verbosity(absl_logging.INFO)
        say = terminal.say
        say(f"log in {settings.folder.log_dir / 'quality.log'}")
        say(f"commit {machine.commit()}")
        data = prepare_data(settings, say)
        data.folder.mkdir(parents=True, exist_ok=True)
        progress = ProgressHandler([], PlainDisplay(say))
        # prepare_data reports the nodes.
        progress.addFilter(lambda record: record.getMessage().startswith("training: "))
        logging.getLogger().addHandler(progress)
        known = make_candidates(settings, data, numbers, parts, notebook_epochs, say)
        results: dict[str, Result] = {}
        for name, candidate in known:
            found = kept_result(candidate, data, older=older and name not in names)
            if found is not None:
                say(f"{candidate.title}: kept ({found.meta['seconds']:.0f} s of training)")
                results[candidate.title] = found
        made = _tabulate(results, known, data, out)
        for name, candidate in known:
            if name in names and candidate.title not in results:
                results[candidate.title] = finish(candidate, data, say)
                made = _tabulate(results, known, data, out)
        logging.getLogger().removeHandler(progress)
    print(report.markdown(made))


def _tabulate(
    results: Mapping[str, Result], known: Sequence[tuple[str, Candidate]], data: Data, out: Path
) -> dict[str, Any]:
    """Writes tables and plot of the finished candidates; returns the report."""
    finished = [results[candidate.title] for _, candidate in known if candidate.title in results]
    seeds = {result.seed for result in finished if result.kind == ABLATION}
    for result in list(finished):
        if result.kind == PIPELINE and result.seed in seeds:
            finished += without_calibration(result, data.labels[features.EVAL])
    header = {
        "commit": machine.commit(),
        "processor": machine.processor(),
        "rows": {name: len(split.labels) for name, split in data.splits.items()},
        "data": data.digest,
    }
    made = report.make_report(finished, data.labels, data.classes, header)
    report.write_report(made, out)
    return made


if __name__ == "__main__":
    typer.run(main)
