"""The layout of an output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class OutputFolder:
    """The folder ``path`` that a pipeline's runs write into."""

    path: Path

    def __post_init__(self) -> None:
        # The nodes' artifacts.
        self.pipeline_root = self.path / "artifacts"
        # ML Metadata's database, the lock for its one writer, and the name of who holds that.
        self.metadata_file = self.path / "metadata.sqlite"
        self.lock_file = self.path / "metadata.sqlite.lock"
        self.holder_file = self.path / "metadata.sqlite.holder.json"
        # The state of an unfinished training; TFX deletes the folders of a node that failed.
        self.checkpoint_dir = self.path / "checkpoints"
        # Trials of unfinished searches.
        self.tuning_dir = self.path / "tuning"
        # One log and one record per run.
        self.log_dir = self.path / "logs"
        self.record_dir = self.path / "runs"
        # The TFX CLI's registrations.
        self.tfx_cli_dir = self.path / "tfx-cli"
        # One model folder per pipeline whose configuration sets no other.
        self.serving_root = self.path / "serving"

    def record_file(self, run_id: str) -> Path:
        """Returns the path of a run's record."""
        return self.record_dir / f"{run_id}.json"
