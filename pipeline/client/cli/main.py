"""Runs ``arxiv-classify``; the commands are in :mod:`pipeline.client.cli.commands`."""

import sys

INTERRUPTED = 130  # 128 + SIGINT


def main() -> None:
    """Runs the command line; a ``UserError`` becomes one line and its exit code."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> int:
    import typer

    from components.errors import UserError, printable
    from pipeline.client.cli.commands import BROKEN_PIPE, app

    try:
        code = app(prog_name="arxiv-classify", standalone_mode=False)
    except typer.TyperException as error:
        message = printable(error.format_message())
        print(f"error: {message}; see arxiv-classify --help", file=sys.stderr)
        return 2
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as ended:
        # Typer exits this way if the reader of its help closes the pipe.
        if isinstance(ended.__context__, BrokenPipeError):
            return BROKEN_PIPE
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except ModuleNotFoundError as error:
        extras = "EXTRA is parquet to read parquet, local for --model, batch for batch"
        install = f"pip install 'arxiv-subject-classifier[EXTRA]', where {extras}"
        print(f"error: {error.name} is not installed: {install}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
