"""What lies where in an output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutputFolder:
    """The folder that a pipeline's runs write into.

    Attributes:
        path: of it.
    """

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
        """Says which process holds the lock."""
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
        """A log for each run."""
        return self.path / "logs"

    @property
    def record_dir(self) -> Path:
        """A record of each run."""
        return self.path / "runs"

    @property
    def tfx_cli_dir(self) -> Path:
        """The TFX CLI's registrations."""
        return self.path / "tfx-cli"

    @property
    def serving_root(self) -> Path:
        """A model folder for each pipeline whose configuration names no other."""
        return self.path / "serving"

    def record_file(self, run_id: str) -> Path:
        """Returns the record of one run."""
        return self.record_dir / f"{run_id}.json"
