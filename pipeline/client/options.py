"""The command line's options, shared by its commands, and the client that they ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from components.errors import UserError
from pipeline.client import api

# What the options are when they are not given.
ENVIRONMENT = "ARXIV_CLASSIFY_"
TOKEN_VARIABLE = f"{ENVIRONMENT}TOKEN"

_DEFAULTS = api.Options()


def _variable(name: str) -> str:
    return f"{ENVIRONMENT}{name}"


Url = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="TF Serving's address: http://HOST:8501, https://HOST (REST), grpc://HOST:8500 or "
        f"grpcs://HOST:8500 (gRPC; the s means TLS). By default {api.DEFAULT_URL}.",
        envvar=_variable("URL"),
    ),
]
Model = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="No server: load the SavedModel, or the newest version in the push folder.",
        envvar=_variable("MODEL"),
    ),
]
ModelName = Annotated[
    str, typer.Option(help="The model's name on the server.", envvar=_variable("MODEL_NAME"))
]
ModelVersion = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="Version of the model; by default the newest."),
]
VersionLabel = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Version label, such as stable or canary, instead of a version."),
]
Deadline = Annotated[
    float,
    typer.Option(
        help="Seconds that a request may take, retries included.", envvar=_variable("DEADLINE")
    ),
]
Retries = Annotated[
    int, typer.Option(help="Attempts after a transient failure.", envvar=_variable("RETRIES"))
]
Header = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Further header as NAME:VALUE; may be repeated.", metavar="NAME:VALUE"),
]
TokenFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="File with a token for the header Authorization: Bearer. "
        f"{TOKEN_VARIABLE} holds the token itself."
    ),
]
CaFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="PEM file of the authorities to trust; by default the system's.",
        envvar=_variable("CA_FILE"),
    ),
]
CertFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="PEM file of the client's certificate.", envvar=_variable("CERT_FILE")),
]
KeyFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="PEM file of its key.", envvar=_variable("KEY_FILE")),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Let credentials go to another host without TLS."),
]


def make_options(
    *,
    model_name: str,
    model_version: int | None,
    version_label: str | None,
    deadline: float,
    retries: int,
    header: list[str] | None,
    token_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    insecure: bool,
    batch_size: int = _DEFAULTS.batch_size,
    max_text_bytes: int = _DEFAULTS.max_text_bytes,
) -> api.Options:
    """Returns the client's options.

    Raises:
        UserError: an option is out of its range, a header has no name, or a file cannot be read.
    """
    return api.Options(
        model_name=model_name,
        version=model_version,
        version_label=version_label,
        deadline=deadline,
        retries=retries,
        batch_size=batch_size,
        max_text_bytes=max_text_bytes,
        headers=dict(_split_header(one) for one in header or []),
        token=_read_token(token_file),
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure=insecure,
    )


def choose_source(
    context: typer.Context, url: str | None, model: Path | None
) -> tuple[str | None, Path | None]:
    """Returns the server or the folder: one of the two is None.

    What the command line names wins over what the environment names.

    Raises:
        UserError: both are named in the same place.
    """
    if url is not None and model is not None:
        typed = {
            name
            for name in ("url", "model")
            if "COMMANDLINE" in str(context.get_parameter_source(name))
        }
        if len(typed) != 1:
            raise UserError("give --url (a server) or --model (a folder), not both")
        url, model = (url, None) if "url" in typed else (None, model)
    return (None, model) if model is not None else (url or api.DEFAULT_URL, None)


def _split_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        # The whole of it may be a secret: it is not repeated.
        raise UserError("--header: needs NAME:VALUE")
    return name.strip(), value.strip()


def _read_token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError(f"{file}: the token cannot be read ({reason})") from None
    if not token:
        raise UserError(f"{file}: holds no token")
    return token
