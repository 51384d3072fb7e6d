"""Names of artifacts' and executions' properties in ML Metadata."""

# Of Examples, with the other counts of the ingestion summary; see `split_rows`.
ROWS_READ = "rows_read"

# Of AcceptedData: the id of the statistics that were accepted.
STATISTICS_ID = "statistics_id"

# Of ModelBlessing, InfraBlessing and EvaluationMetrics, 0 or 1.
BLESSED = "blessed"
# Of the latter two: a sentence or a failed check per line.
REASONS = "reasons"
# Of InfraBlessing: what served the model.
RUNTIME = "runtime"
# Of EvaluationMetrics, with `examples`: metrics of the whole test split, which SQLite keeps to six
# digits.
KEPT_METRICS = ("accuracy", "macro_f1", "cross_entropy")

# Of PushedModel. TFX's: 0 or 1, the version's folder, and the version.
PUSHED = "pushed"
PUSHED_DESTINATION = "pushed_destination"
PUSHED_VERSION = "pushed_version"
# Ours: the id of the Model artifact, and why a blessed model was not pushed.
MODEL_ID = "model_id"
REASON = "reason"


def split_rows(split: str) -> str:
    """Returns the name of the Examples property that counts a split's rows."""
    return f"rows_{split}"
