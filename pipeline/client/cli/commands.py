"""The commands of ``arxiv-classify``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import IO, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from components.errors import UserError, one_line
from pipeline.client.batch.command import batch
from pipeline.client.cli import inputs, outputs
from pipeline.client.cli.options import DEFAULTS, Source, with_source
from pipeline.client.errors import (
    BadInputError,
    ClientError,
    ModelNotLoadedError,
    ServerError,
)
from pipeline.client.texts import batches
from pipeline.client.types import ON_DISK

DEFAULT_COMMAND = "classify"
BROKEN_PIPE = 141  # 128 + SIGPIPE

_EPILOG = """
Exit codes: 0 all answered; 1 the server answered with an error, or the output cannot be written;
2 an option cannot be used; 3 the server is not reachable, overloaded or slower than the deadline;
4 the model is not loaded; 5 the model has another signature; 6 a text is too long; 7 an input file
or row cannot be read; 8 credentials, certificates or keys are refused; 130 Ctrl-C; 141 the reader
of the output went away.
"""
_INPUT_HELP = (
    "lines: each line is a text; whole: the file is one text; jsonl: an object a line; json: an "
    "array; csv: with a header; auto: by content and suffix. Files may be .gz, .xz or .zip."
)
_OUTPUT_HELP = (
    "json: an object a line; csv: a column a class, with an apostrophe before a text that a "
    "spreadsheet would take for a formula; csv-raw: without."
)
_FILE_HELP = "File, folder or quoted glob to read, - for stdin; may be repeated."
_SKIP_HELP = "Name rows with fields that cannot be used, and go on; exit code 7."


class _DefaultCommand(TyperGroup):
    """Makes ``arxiv-classify TEXT`` mean ``arxiv-classify classify TEXT``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help", "--version"):
            # No text is one word.
            meant = get_close_matches(args[0], self.commands, 1, 0.75) if args else []
            if meant:
                raise UserError(
                    f"{args[0]!r} is no command; did you mean arxiv-classify {meant[0]}? "
                    f"To classify the word: arxiv-classify {DEFAULT_COMMAND} {args[0]}"
                )
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DefaultCommand,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=_EPILOG,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"arxiv-classify {version('arxiv-subject-classifier')}")
        raise typer.Exit


@app.callback()
def _commands(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Classify texts, with TF Serving or a SavedModel.

    arxiv-classify TEXT... is short for arxiv-classify classify TEXT...
    """


@app.command()
@with_source
def classify(
    context: typer.Context,
    source: Source,
    text: Annotated[
        list[str] | None,
        typer.Argument(help="Texts. Without any, and without --file: standard input."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help=_FILE_HELP),
    ] = None,
    form: Annotated[inputs.Format, typer.Option("--input", "-i", help=_INPUT_HELP)] = "auto",
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="JSON field or column of the text, by default that of the model; several are "
            "joined, as in training."
        ),
    ] = None,
    identifier: Annotated[
        str | None,
        typer.Option("--id", help="JSON field or column to copy to the output."),
    ] = None,
    output: Annotated[
        outputs.Format,
        typer.Option("--output", "-o", help=_OUTPUT_HELP),
    ] = "table",
    max_text_bytes: Annotated[
        int, typer.Option(help="Longest text, in bytes of UTF-8.")
    ] = DEFAULTS.max_text_bytes,
    batch_size: Annotated[
        int, typer.Option(help="Texts in a request; 1 answers each line as it comes.")
    ] = DEFAULTS.batch_size,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help=_SKIP_HELP)] = False,
    model_version: Annotated[
        int | None, typer.Option(help="Version of the model; by default the newest.")
    ] = None,
    version_label: Annotated[
        str | None,
        typer.Option(help="Version label, such as stable or canary, instead of a version."),
    ] = None,
) -> None:
    """Classify texts and print their classes, in order, as they are ready."""
    if identifier is not None and text:
        raise UserError("--id needs files with fields, such as CSV: arguments have none")
    skipped: list[ClientError] = []

    def skip(error: ClientError) -> None:
        skipped.append(error)
        print(f"skipped: {error}", file=sys.stderr)

    fields = inputs.Fields(tuple(field or ()), identifier, max_text_bytes)
    if skip_bad_rows:
        fields = fields._replace(reject=skip)
    texts = text or []
    files = _files(context, texts, file or [])
    opened = source.open(
        version=model_version,
        version_label=version_label,
        batch_size=batch_size,
        max_text_bytes=max_text_bytes,
    )
    with opened as client, _output() as stream:
        if not field and (form not in ("auto", "lines", "whole") or set(files) - {"-"}):
            fields = fields._replace(text=client.text_columns())
        rows = _rows(texts, files, form, fields)
        write = outputs.WRITERS[output](stream, identifier)
        for some in batches(rows, batch_size, lambda row: len(row.text)):
            answers = client.classify([row.text for row in some])
            for row, answer in zip(some, answers, strict=True):
                write(row, answer)
            stream.flush()
    if skipped:
        raise BadInputError(f"{len(skipped):,} rows were skipped; all others are answered")


@app.command()
@with_source
def status(
    context: typer.Context,  # noqa: ARG001  (with_source reads it)
    source: Source,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="json: an object a line.")
    ] = "table",
) -> None:
    """Show the model's versions and their states; exit code 4 if none is available."""
    if source.folder is not None:
        # The versions on disk can be listed without loading one.
        from pipeline.client.folders import folder_status

        found = folder_status(source.folder)
    else:
        with source.open() as client:
            found = client.status()
    with _output() as stream:
        outputs.write_status(found, output, stream)
    if not any(one.state in ("AVAILABLE", ON_DISK) for one in found):
        name = source.options.model_name
        raise ModelNotLoadedError(f"{source.url}: no version of {name!r} is available")


def _files(context: typer.Context, texts: list[str], files: list[str]) -> list[str]:
    """Checks and returns the files to read: standard input if there are no texts or files."""
    group = context.parent.command if context.parent else None
    if len(texts) == 1 and isinstance(group, TyperGroup) and texts[0] in group.commands:
        raise UserError(
            f"{texts[0]!r} is a command: put it first, as in arxiv-classify {texts[0]} --url ..."
        )
    if not texts and not files:
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError(
                "no text: give texts as arguments, by --file, or pipe them in; see --help"
            )
        files = ["-"]
    if "-" in files and sys.stdin is None:
        raise UserError("standard input is closed")
    return files


def _rows(
    texts: list[str], files: list[str], form: inputs.Format, fields: inputs.Fields
) -> Iterator[inputs.Row]:
    yield from inputs.read_arguments(texts, fields)
    for file in files:
        if file == "-":
            rows = inputs.read_stream(sys.stdin.buffer, inputs.STDIN, form, fields)
        else:
            rows = inputs.read_file(file, form, fields)
        yield from inputs.with_ids(rows, inputs.STDIN if file == "-" else file, fields)


@contextlib.contextmanager
def _output() -> Iterator[IO[str]]:
    """Yields standard output; ends the command if it cannot be written to."""
    if sys.stdout is None:
        raise ServerError("standard output is closed")
    # Characters that the terminal's encoding lacks are escaped.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
    try:
        try:
            yield sys.stdout
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Python flushes again at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from None
        raise ServerError(
            f"the output cannot be written ({one_line(error.strerror or str(error))})"
        ) from None


app.command()(batch)
