"""Names of the files in artifacts' folders."""

# ParquetExampleGen.
INGESTION_SUMMARY = "ingestion.json"

# AnomalyGate.
FINDINGS = "findings.json"
DISTANCES = "distances.json"
TRAIN_STATISTICS = "train_statistics.pb"

# Trainer, in this folder of the SavedModel; the report also in the model run's folder. TF Serving
# ignores the folder except for the warm-up requests, whose name it defines.
EXTRA_ASSETS = "assets.extra"
TRAINING_REPORT = "training.json"
GOLDEN_PREDICTIONS = "golden_predictions.json"
WARMUP = "tf_serving_warmup_requests"

# Pusher, in the version.
MANIFEST = f"{EXTRA_ASSETS}/manifest.json"

# Tuner.
BEST_VALUES = "best.toml"

# EvaluationSummary.
METRICS = "metrics.json"

# InfraValidator; the latter two as in TFX's own executor.
INFRA_VERDICT = "infra_validation.json"
INFRA_BLESSED = "INFRA_BLESSED"
INFRA_NOT_BLESSED = "INFRA_NOT_BLESSED"

# ModelCard.
CARD_JSON = "model_card.json"
CARD_MARKDOWN = "model_card.md"

# Predictions.
CANDIDATE_PREDICTIONS = "candidate.parquet"
BASELINE_PREDICTIONS = "baseline.parquet"

# RunReport.
RUN_REPORT = "report.html"
