"""What an exported model may cost where it is served, and how far its answers may differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings import Settings

Runtime = Literal["auto", "tensorflow"]


class InfraValidationSettings(Settings):
    """Budgets of a model that is pushed, measured on the machine that runs the pipeline."""

    max_load_seconds: float = Field(
        60.0, gt=0, description="Longest time until the model is loaded, in seconds."
    )
    max_latency_ms: float = Field(
        250.0,
        gt=0,
        description="Highest 95th percentile of requests with one abstract, in milliseconds.",
    )
    max_batch_seconds: float = Field(
        10.0, gt=0, description="Longest time of a request with 512 abstracts, in seconds."
    )
    max_memory_mib: float = Field(
        3072.0,
        gt=0,
        description="Highest peak resident memory of the process that serves, in MiB.",
    )
    max_score_difference: float = Field(
        1e-5,
        ge=0,
        le=1,
        description="How far a score may lie from the trained network's, in [0, 1].",
    )
    tries: int = Field(
        3,
        ge=1,
        le=10,
        description="Measurements of time and memory before a missed budget counts; other load on "
        "the machine passes.",
    )
    timeout_seconds: float = Field(
        600.0, gt=0, description="Longest time of one measurement, in seconds."
    )
    runtime: Runtime = Field(
        "auto",
        description="auto: TF Serving where tensorflow_model_server is on PATH or a Docker engine "
        "answers, else TensorFlow. tensorflow: always TensorFlow.",
    )
