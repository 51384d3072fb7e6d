"""``python -m pipeline``: the command ``arxiv-pipeline`` without an installation."""

from pipeline.cli.main import main

if __name__ == "__main__":
    main()
