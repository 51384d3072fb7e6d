"""Entry point of ``arxiv-pipeline`` and ``python -m pipeline``."""

import sys


def main() -> None:
    """Runs the command line; a missing extra of the package is reported in one line."""
    try:
        from pipeline.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        extra = "pip install 'arxiv-subject-classifier[pipeline]'"
        print(f"error: {error.name} is not installed: {extra}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
