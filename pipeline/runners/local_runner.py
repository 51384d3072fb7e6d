"""The pipeline for the TFX CLI's local engine.

``tfx pipeline create --engine=local --pipeline_path=<absolute path of this file>`` reads the
pipeline from it; ``tfx run create --engine=local --pipeline_name=<name>`` executes it. The
environment variable ``ARXIV_PIPELINE_CONFIG`` names the configuration.
"""

import os
import sys

from components.errors import UserError
from pipeline import environment
from pipeline.launch import early_stop
from pipeline.launch.exit_codes import USAGE


def main() -> int:
    """Runs the pipeline, or hands it to the CLI; returns the exit code."""
    command = os.environ.get(early_stop.COMMAND_VARIABLE)
    if command:
        early_stop.end_at_once(command)
    # Slow imports come after the signal handlers are in place.
    from pipeline.config.pipeline_config import load_config
    from pipeline.launch import pipeline_run

    environment.prepare(quiet=True)
    try:
        return pipeline_run.run(load_config(), command=command)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    exit_code = main()
    from pipeline.launch.pipeline_run import leave

    leave(exit_code)
