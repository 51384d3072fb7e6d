"""Loads an exported model in its own process, replays requests, and writes the checks.

    python -m components.infra_validation.probe MODEL OUT SETTINGS [ADDRESS NAME PID SECONDS]

Run by the executor, with CUDA hidden. Without an address, TensorFlow loads the model in this
process. With one, the server there has already loaded it, in that many seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from components.contracts import artifact_files, features
from components.contracts.golden_predictions import EMPTY, REAL, GoldenPredictions
from components.contracts.infra_verdict import Check, Measurements, ProbeResult
from components.errors import one_line
from components.infra_validation import checks
from components.infra_validation.budgets import InfraValidationSettings
from components.infra_validation.checks import Reply
from components.infra_validation.process_memory import peak_memory_mib
from components.infra_validation.runtimes import ModelRuntime, Server
from components.scoring.errors import LoadError, ScoringError
from components.scoring.scorer import Scorer, decoded
from components.training.warmup_requests import MAX_RECORDS, read_warmup

BATCH_ROWS = 512
TIMED_REQUESTS = 100
# Invalid tf.Examples: a tag of wire type 7, a length beyond the end, noise.
_NOT_EXAMPLES = (b"\x0f", b"\x0a\xff\x01", bytes(range(255, 0, -1)))


def probe(
    model: Path,
    settings: InfraValidationSettings,
    server: tuple[ModelRuntime, float] | None = None,
    pid: str = "self",
) -> tuple[list[Check], Measurements | None]:
    """Sends a model every kind of request, and measures it.

    Args:
        model: folder of the SavedModel, with its golden predictions and warm-up requests.
        server: a server that has loaded it, and the load time in seconds; None loads it here.
        pid: the process whose memory is measured; empty if unknown.

    Returns:
        The checks, and the measurements; None if the probe failed before them.
    """
    try:
        golden = _read_golden(model)
    except ValueError as error:
        return [Check.of("golden predictions", one_line(str(error)))], None
    path = model / artifact_files.EXTRA_ASSETS / artifact_files.WARMUP
    try:
        warmup = read_warmup(path)
    except (tf.errors.OpError, DecodeError) as error:
        return [Check.of("warm-up", one_line(f"{path} cannot be read: {error}"))], None

    if server is None:
        started = time.perf_counter()
        try:
            server = Scorer(model), time.perf_counter() - started
        except LoadError as error:
            return [Check.of("load", f"the model cannot be loaded: {error.reason}")], None
    runtime, load_seconds = server
    found: list[Check] = []
    try:
        expected = checks.expected_signatures(golden)
        found += checks.check_signatures(runtime.signatures, expected)
        if not all(check.passed for check in found):
            return found, None
        found.append(_replay_warmup(runtime, warmup, golden))
        found += replay_texts(runtime, golden, settings.max_score_difference)
        found += _replay_examples(runtime, golden, settings.max_score_difference)
        measurements, check = _measure(runtime, golden, load_seconds, pid)
        found.append(check)
    except ScoringError as error:
        found.append(Check.of("requests", error.reason))
        return found, None
    return found + checks.check_budgets(measurements, settings), measurements


def golden_defect(model: Path, bound: float) -> str:
    """Returns how a model's scores differ from its golden predictions; empty if they do not.

    The model is loaded in this process; ``bound`` is the largest allowed difference of a score.
    """
    try:
        golden = _read_golden(model)
        scorer = Scorer(model)
        scorer.check()
        found = replay_texts(scorer, golden, bound)
    except ScoringError as error:
        return error.reason
    except ValueError as error:
        return str(error)
    return next((check.line for check in found if not check.passed), "")


def _read_golden(model: Path) -> GoldenPredictions:
    """Reads a model's golden predictions.

    Raises:
        ValueError: they cannot be read, or there are none.
    """
    path = model / artifact_files.EXTRA_ASSETS / artifact_files.GOLDEN_PREDICTIONS
    try:
        golden = GoldenPredictions.read(path)
        # Arrays are built when they are first used.
        _ = golden.token_ids, golden.scores
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not golden.predictions:
        raise ValueError(f"{path} holds none")
    return golden


def _ask(
    runtime: ModelRuntime, rows: Sequence[bytes], signature: str = features.SERVING_TEXT
) -> Reply:
    outputs = runtime.ask(signature, rows)
    return Reply(
        decoded(outputs[features.LABEL_OUTPUT]),
        outputs[features.SCORES_OUTPUT],
        [decoded(row) for row in outputs[features.CLASSES_OUTPUT]],
    )


def _replay_warmup(
    runtime: ModelRuntime, warmup: Sequence[Any], golden: GoldenPredictions
) -> Check:
    if not 0 < len(warmup) <= MAX_RECORDS:
        return Check.of(
            "warm-up", f"{len(warmup)} requests; TF Serving takes from 1 to {MAX_RECORDS}"
        )
    first_input = sorted(runtime.signatures[features.SERVING_TEXT].inputs)[0]
    for number, request in enumerate(warmup):
        rows = tf.make_ndarray(request.inputs[first_input]).tolist()
        what = f"warm-up request {number}"
        check = checks.check_reply(what, _ask(runtime, rows), golden.classes, len(rows))
        if request.model_spec.signature_name != features.SERVING_TEXT:
            return Check.of(what, f"is for {request.model_spec.signature_name!r}")
        if not check.passed:
            return check
    return Check("warm-up", True, f"warm-up: {len(warmup)} requests, each answered")


def replay_texts(runtime: ModelRuntime, golden: GoldenPredictions, bound: float) -> list[Check]:
    """Sends each golden text alone, then all of them in one batch."""
    texts = [text.content for text in golden.predictions]
    every = range(len(texts))
    alone = [_ask(runtime, [text]) for text in texts]
    found = []
    for reply, text in zip(alone, golden.predictions, strict=True):
        if text.name == REAL:
            continue
        found.append(checks.check_reply(f"text {text.name}", reply, golden.classes, 1))
    together = _ask(runtime, texts)
    found.append(checks.check_reply("texts in one batch", together, golden.classes, len(texts)))
    if all(check.passed for check in found):
        scores = np.concatenate([reply.scores for reply in alone])
        found += [
            checks.check_scores("texts one by one", scores, golden, every, bound),
            checks.check_scores("texts in one batch", together.scores, golden, every, bound),
        ]
    return found


def _replay_examples(runtime: ModelRuntime, golden: GoldenPredictions, bound: float) -> list[Check]:
    """Sends the golden texts as tf.Examples, with broken rows among them."""
    rows, meant = [], []
    empty = next(i for i, text in enumerate(golden.predictions) if text.name == EMPTY)
    for index, text in enumerate(golden.predictions):
        example = tf.train.Example()
        example.features.feature[golden.text_columns[0]].bytes_list.value.append(text.content)
        rows.append(example.SerializeToString())
        meant.append(index)
        if index < len(_NOT_EXAMPLES):
            rows.append(_NOT_EXAMPLES[index])
            meant.append(empty)
    reply = _ask(runtime, rows, features.SERVING_EXAMPLES)
    what = "examples, some of them broken"
    found = [checks.check_reply(what, reply, golden.classes, len(rows))]
    if found[0].passed:
        found.append(checks.check_scores(what, reply.scores, golden, meant, bound))
    transformed = runtime.ask(features.TRANSFORM_FEATURES, rows)
    for name, values in transformed.items():
        if len(values) != len(rows):
            found.append(Check.of(what, f"{name} has {len(values)} rows for {len(rows)}"))
            return found
    of_text = [i for i, row in enumerate(rows) if row not in _NOT_EXAMPLES]
    found.append(checks.check_ids(transformed[features.TOKENS][of_text], golden))
    return found


def _measure(
    runtime: ModelRuntime,
    golden: GoldenPredictions,
    load_seconds: float,
    pid: str,
) -> tuple[Measurements, Check]:
    real = [text.content for text in golden.predictions if text.name == REAL]
    batch = [real[i % len(real)] for i in range(BATCH_ROWS)]
    started = time.perf_counter()
    reply = _ask(runtime, batch)
    batch_seconds = time.perf_counter() - started
    latencies = []
    for number in range(TIMED_REQUESTS):
        started = time.perf_counter()
        _ask(runtime, [real[number % len(real)]])
        latencies.append((time.perf_counter() - started) * 1000)
    measurements = Measurements(load_seconds, latencies, batch_seconds, peak_memory_mib(pid))
    return measurements, checks.check_reply("batch of 512", reply, golden.classes, BATCH_ROWS)


def main(arguments: Sequence[str]) -> None:
    """Runs the probe and writes its result; see the module's docstring."""
    model, out, settings_json, *at = arguments
    settings = InfraValidationSettings.model_validate_json(settings_json)
    if at:
        address, name, pid, seconds = at
        server = Server(address, name, settings.timeout_seconds), float(seconds)
        found, measurements = probe(Path(model), settings, server, pid)
    else:
        found, measurements = probe(Path(model), settings)
    ProbeResult(checks=tuple(found), measurements=measurements).write(Path(out))


if __name__ == "__main__":
    main(sys.argv[1:])
