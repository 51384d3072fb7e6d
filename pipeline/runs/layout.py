"""What lies where in an output folder."""

from pathlib import Path


def pipeline_root(output_dir: Path) -> Path:
    """Returns the folder of the nodes' artifacts."""
    return output_dir / "artifacts"


def metadata_file(output_dir: Path) -> Path:
    """Returns ML Metadata's SQLite database."""
    return output_dir / "metadata.sqlite"


def serving_dir(output_dir: Path, name: str) -> Path:
    """Returns TF Serving's model folder of a pipeline, where the configuration names no other."""
    return output_dir / "serving" / name
