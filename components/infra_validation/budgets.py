"""Settings of the check before the push: what serving a model may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings import Settings

Runtime = Literal["auto", "tensorflow"]


class InfraValidationSettings(Settings):
    """Budgets of serving a model, measured on the pipeline's machine before the push."""

    max_load_seconds: float = Field(60.0, gt=0)
    """Longest time until the model is loaded, in seconds."""
    max_latency_ms: float = Field(250.0, gt=0)
    """Highest 95th percentile of the latency of requests with one abstract, in milliseconds."""
    max_batch_seconds: float = Field(10.0, gt=0)
    """Longest time of a request with 512 abstracts, in seconds."""
    max_memory_mib: float = Field(3072.0, gt=0)
    """Highest peak resident memory of the serving process, in MiB."""
    max_score_difference: float = Field(1e-5, ge=0, le=1)
    """Largest difference between a served score and the trained network's."""
    tries: int = Field(3, ge=1, le=10)
    """Number of measurements of time and memory before a missed budget counts, since other load on
    the machine passes."""
    timeout_seconds: float = Field(600.0, gt=0)
    """Longest time of one measurement, in seconds."""
    runtime: Runtime = "auto"
    """What serves the model in the check, TensorFlow always or (auto) TF Serving where
    tensorflow_model_server is on PATH or a Docker engine answers."""
