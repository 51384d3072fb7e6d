"""The layout of an output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutputFolder:
    """The folder that a pipeline's runs write into."""

    path: Path

    @property
    def pipeline_root(self) -> Path:
        """The nodes' artifacts."""
        return self.path / "artifacts"

    @property
    def metadata_file(self) -> Path:
        """ML Metadata's SQLite database."""
        return self.path / "metadata.sqlite"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that may write into the database."""
        return self.path / "metadata.sqlite.lock"

    @property
    def holder_file(self) -> Path:
        """Names the process that holds the lock."""
        return self.path / "metadata.sqlite.holder.json"

    @property
    def checkpoint_dir(self) -> Path:
        """The state of an unfinished training; TFX deletes the folders of a node that failed."""
        return self.path / "checkpoints"

    @property
    def tuning_dir(self) -> Path:
        """Trials of unfinished searches."""
        return self.path / "tuning"

    @property
    def log_dir(self) -> Path:
        """One log per run."""
        return self.path / "logs"

    @property
    def record_dir(self) -> Path:
        """One record per run."""
        return self.path / "runs"

    @property
    def tfx_cli_dir(self) -> Path:
        """The TFX CLI's registrations."""
        return self.path / "tfx-cli"

    @property
    def serving_root(self) -> Path:
        """One model folder per pipeline whose configuration sets no other."""
        return self.path / "serving"

    def record_file(self, run_id: str) -> Path:
        """Returns the path of a run's record."""
        return self.record_dir / f"{run_id}.json"
