"""``arxiv-pipeline run``."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from pipeline.cli.options import Config
from pipeline.launch import early_stop

_PROGRAM = "arxiv-pipeline"

EPILOG = """\b
Exit codes:
  0         every node complete or cached, the model blessed
  1         a node failed; the last lines say which, why, and how to resume
  2         the configuration or the command cannot be used
  3         complete, but nothing was pushed: a threshold missed, an infrastructure
            check failed, or the model was rolled back
  4         another run still held the output folder after run.lock_wait_seconds
  130, 143  stopped by Ctrl-C or SIGTERM; the same command resumes

\b
Examples:
  arxiv-pipeline run --config my.toml
  ARXIV_PIPELINE_CONFIG=my.toml arxiv-pipeline run
  NO_COLOR=1 arxiv-pipeline run -c my.toml
  arxiv-pipeline run -c my.toml | tee run.txt    (plain lines: not a terminal)
"""


def run(config: Config = None) -> None:
    """Run the pipeline once.

    Nodes with the same inputs, settings and code as in an earlier run are taken from the cache; the
    others run in order, in a child process. A terminal shows the running node, its usual duration,
    and the epochs of the training; all other output goes into a log file, which the first line
    names. Only one run at a time writes into an output folder; a second one waits.
    """
    options = ["--config", shlex.quote(os.fspath(config.resolve()))] if config else []
    command = " ".join([*_own_command(), "run", *options])
    early_stop.end_at_once(command)
    from pipeline.config.pipeline_config import load_config
    from pipeline.launch import pipeline_run

    pipeline_run.leave(pipeline_run.run(load_config(config), command=command))


def _own_command() -> list[str]:
    """Returns the words that start this program from a shell."""
    if Path(sys.argv[0]).name == _PROGRAM:
        found = shutil.which(_PROGRAM)
        same = found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve()
        return [_PROGRAM if same else shlex.quote(os.path.abspath(sys.argv[0]))]  # noqa: PTH100
    return [shlex.quote(sys.executable), "-m", "pipeline"]
