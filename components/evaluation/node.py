"""EvaluationSummary: the Evaluator's result as one JSON file and as artifact properties."""

from pathlib import Path

import tensorflow_model_analysis as tfma
from absl import logging
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact, standard_artifacts

from components.contracts import artifact_files, properties
from components.contracts.evaluation_metrics import ModelReference
from components.evaluation.verdict import BASELINE, CANDIDATE, summarize


class EvaluationMetrics(artifact.Artifact):  # type: ignore[misc]
    """Folder with an `Evaluation`; its main values are also properties, for listings."""

    TYPE_NAME = "EvaluationMetrics"
    PROPERTIES = {  # noqa: RUF012
        properties.BLESSED: artifact.Property(type=artifact.PropertyType.INT),
        "examples": artifact.Property(type=artifact.PropertyType.INT),
        **{
            name: artifact.Property(type=artifact.PropertyType.FLOAT)
            for name in properties.KEPT_METRICS
        },
        properties.REASONS: artifact.Property(type=artifact.PropertyType.STRING),
    }


@component  # type: ignore[untyped-decorator]
def EvaluationSummary(  # noqa: N802
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    metrics: OutputArtifact[EvaluationMetrics],
    classes: Parameter[list[str]],
    fingerprint: Parameter[str] = "",
) -> None:
    """Writes an `Evaluation` from the Evaluator's outputs.

    Args:
        evaluation: TFMA's result, for one model or for a candidate and a baseline.
        blessing: the Evaluator's verdict on the same model.
        metrics: receives the file.
        classes: class names, in the order of the label ids.
        fingerprint: hash of this code; part of the cache key.

    Raises:
        RuntimeError: the verdict contradicts the evaluation: they are from different runs.
    """
    del fingerprint
    config, *_ = eval_config_writer.load_eval_run(evaluation.uri)
    compared = len(config.model_specs) > 1
    result = summarize(
        tfma.load_eval_result(evaluation.uri, model_name=CANDIDATE if compared else None),
        tfma.load_validation_result(evaluation.uri),
        classes,
        tfma.load_eval_result(evaluation.uri, model_name=BASELINE) if compared else None,
    )
    blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
    if blessed != result.blessed:
        raise RuntimeError(
            f"{evaluation.uri} says blessed={result.blessed} but {blessing.uri} says "
            f"blessed={blessed}: the two inputs are not of one Evaluator run"
        )
    candidate = ModelReference(
        id=blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY),
        uri=blessing.get_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY),
    )
    baseline = ModelReference(
        id=blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY),
        uri=blessing.get_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY),
    )
    earlier = result.baseline and result.baseline.model_copy(update={"model": baseline})
    result = result.model_copy(update={"model": candidate, "baseline": earlier})
    result.write(Path(metrics.uri) / artifact_files.METRICS)

    metrics.blessed = int(result.blessed)
    metrics.examples = result.overall.examples
    for name in properties.KEPT_METRICS:
        # An undefined metric leaves its property unset.
        if (value := getattr(result.overall, name)) is not None:
            setattr(metrics, name, value)
    metrics.reasons = "\n".join(result.reasons)
    for reason in result.reasons:
        logging.info("%s: %s", "blessed" if blessed else "NOT blessed", reason)
