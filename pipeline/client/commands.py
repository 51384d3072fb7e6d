"""The commands of ``arxiv-classify``; what they use is imported when they run."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from components.errors import UserError
from pipeline.client import api, batch_command, inputs, options, outputs
from pipeline.client.errors import (
    BadInputError,
    ClientError,
    ModelNotLoadedError,
    ServerError,
    one_line,
)

DEFAULT_COMMAND = "classify"
BROKEN_PIPE = 141  # 128 + SIGPIPE

_DEFAULTS = api.Options()
_AVAILABLE = ("AVAILABLE", "ON_DISK")

_EPILOG = """
Exit codes: 0 all answered; 1 the server answered with an error, or the output cannot be written;
2 an option cannot be used; 3 the server is not reachable, overloaded or slower than the deadline;
4 the model is not loaded; 5 the model has another signature; 6 a text is too long; 7 an input file
or row cannot be read; 8 credentials or certificates are refused; 130 Ctrl-C; 141 the reader of the
output went away.
"""


class _DefaultCommand(TyperGroup):
    """Takes ``arxiv-classify TEXT`` for ``arxiv-classify classify TEXT``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help", "--version"):
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
    """Classify abstracts by subject, with TF Serving or a SavedModel.

    arxiv-classify TEXT... is short for arxiv-classify classify TEXT...
    """


@app.command()
def classify(
    context: typer.Context,
    text: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Abstracts. Without any, and without --file: standard input."),
    ] = None,
    file: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--file", "-f", help="File to read, - for stdin; may be repeated."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            help="lines: each line is a text; whole: the file is one text; jsonl: an object a "
            "line; parquet; auto: by the suffix, else lines.",
            metavar="|".join(inputs.FORMATS),
        ),
    ] = inputs.AUTO,
    field: Annotated[
        str, typer.Option(help="JSON field or parquet column of the text.")
    ] = "abstract",
    identifier: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--id", help="JSON field or parquet column to copy to the output."),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="table; json: an object a line; csv: a column a subject.",
            metavar="|".join(outputs.FORMATS),
        ),
    ] = outputs.TABLE,
    max_text_bytes: Annotated[
        int, typer.Option(help="Longest text, in bytes of UTF-8.")
    ] = _DEFAULTS.max_text_bytes,
    batch_size: Annotated[
        int, typer.Option(help="Texts in a request; 1 answers each line as it comes.")
    ] = _DEFAULTS.batch_size,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="Name rows of JSON lines and parquet that cannot be used, and go on; exit code 7.",
        ),
    ] = False,
    url: options.Url = None,
    model: options.Model = None,
    model_name: options.ModelName = _DEFAULTS.model_name,
    model_version: options.ModelVersion = None,
    version_label: options.VersionLabel = None,
    deadline: options.Deadline = _DEFAULTS.deadline,
    retries: options.Retries = _DEFAULTS.retries,
    header: options.Header = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    cert_file: options.CertFile = None,
    key_file: options.KeyFile = None,
    insecure: options.Insecure = False,
) -> None:
    """Classify texts; answers come out in the order of the texts, as they are ready."""
    _one_of("--input", form, inputs.FORMATS)
    _one_of("--output", output, outputs.FORMATS)
    chosen = options.make_options(
        model_name=model_name,
        model_version=model_version,
        version_label=version_label,
        deadline=deadline,
        retries=retries,
        header=header,
        token_file=token_file,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure=insecure,
        batch_size=batch_size,
        max_text_bytes=max_text_bytes,
    )
    if identifier is not None and text:
        raise UserError("--id needs jsonl or parquet files: arguments have no fields")
    skipped = _Skipped()
    fields = inputs.Fields(field, identifier, max_text_bytes)
    if skip_bad_rows:
        fields = fields._replace(reject=skipped)
    rows = _rows(context, text or [], file or [], form, fields)
    server, folder = options.choose_source(context, url, model)
    with _open(server, folder, chosen) as client, _Output() as stream:
        writer = outputs.make_writer(output, stream, identifier)
        for batch in api.batches(rows, batch_size, lambda row: len(row.text)):
            answers = client.classify([row.text for row in batch])
            for row, answer in zip(batch, answers, strict=True):
                writer.write(row, answer)
            stream.flush()
    if skipped.rows:
        raise BadInputError(f"{skipped.rows:,} rows were skipped; all others are answered")


@app.command()
def status(
    context: typer.Context,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="table; json: an object a line.", metavar="table|json"),
    ] = outputs.TABLE,
    url: options.Url = None,
    model: options.Model = None,
    model_name: options.ModelName = _DEFAULTS.model_name,
    deadline: options.Deadline = _DEFAULTS.deadline,
    retries: options.Retries = _DEFAULTS.retries,
    header: options.Header = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    cert_file: options.CertFile = None,
    key_file: options.KeyFile = None,
    insecure: options.Insecure = False,
) -> None:
    """Show the model's versions and their states; exit code 4 where none is available."""
    _one_of("--output", output, (outputs.TABLE, outputs.JSON))
    chosen = options.make_options(
        model_name=model_name,
        model_version=None,
        version_label=None,
        deadline=deadline,
        retries=retries,
        header=header,
        token_file=token_file,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure=insecure,
    )
    server, folder = options.choose_source(context, url, model)
    found = _status(server, folder, chosen)
    with _Output() as stream:
        outputs.write_status(found, output, stream)
    if not any(one.state in _AVAILABLE for one in found):
        raise ModelNotLoadedError(f"{server}: no version of {model_name!r} is available")


class _Skipped:
    """Names each row that is passed over, and counts them."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, error: ClientError) -> None:
        self.rows += 1
        print(f"skipped: {error}", file=sys.stderr)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{option} {value!r}: must be one of {', '.join(allowed)}")


def _open(server: str | None, folder: Path | None, chosen: api.Options) -> api.Client:
    return api.connect(server, chosen) if server else api.open_model(folder or "", chosen)


def _status(
    server: str | None, folder: Path | None, chosen: api.Options
) -> list[api.VersionStatus]:
    if server is None:
        # What is on the disk can be said without loading it.
        from pipeline.client.local import folder_status

        return folder_status(folder or Path())
    with api.connect(server, chosen) as client:
        return client.status()


def _rows(
    context: typer.Context, texts: list[str], files: list[str], form: str, fields: inputs.Fields
) -> Iterator[inputs.Row]:
    """The rows of all sources, in their order."""
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
    return itertools.chain(
        inputs.read_arguments(texts, fields),
        itertools.chain.from_iterable(_read(file, form, fields) for file in files),
    )


def _read(file: str, form: str, fields: inputs.Fields) -> Iterator[inputs.Row]:
    if file == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed")
        return inputs.read_stream(sys.stdin.buffer, inputs.STDIN, form, fields)
    return inputs.read_file(file, form, fields)


class _Output:
    """Standard output; ends the command where it takes no more."""

    def __enter__(self) -> IO[str]:
        if sys.stdout is None:
            raise ServerError("standard output is closed")
        # What the terminal's encoding lacks is shown by its number.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
        return sys.stdout

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            sys.stdout.flush()
        except OSError as late:
            error = error if isinstance(error, OSError) else late
        if not isinstance(error, OSError):
            return
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from None
        raise ServerError(
            f"the output cannot be written ({one_line(error.strerror or str(error))})"
        ) from None


batch_command.register(app)
