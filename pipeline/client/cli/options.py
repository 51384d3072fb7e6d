"""The options for the server or model folder, shared by the commands that use one."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from components.errors import UserError
from pipeline.client.connection import connect, open_model
from pipeline.client.transports.base import Client
from pipeline.client.types import DEFAULT_URL, Options

# Environment variables with this prefix set options that the command line leaves out.
ENVIRONMENT = "ARXIV_CLASSIFY_"
TOKEN_VARIABLE = f"{ENVIRONMENT}TOKEN"
DEFAULTS = Options()


class Source(NamedTuple):
    """A server's address or a model's folder (the other is None), and the client's options."""

    url: str | None
    folder: Path | None
    options: Options

    def open(self, **changes: Any) -> Client:
        """Returns a client; ``changes`` override the source's options."""
        options = replace(self.options, **changes)
        return connect(self.url, options) if self.url else open_model(self.folder or "", options)


def _from(variable: str, help_text: str) -> Any:
    """Returns an option that an environment variable can set, too."""
    return typer.Option(help=help_text, envvar=ENVIRONMENT + variable)


_URL_HELP = (
    "TF Serving's address: http://HOST:8501, https://HOST (REST), grpc://HOST:8500 or "
    f"grpcs://HOST:8500 (gRPC; the s means TLS). By default {DEFAULT_URL}."
)
_MODEL_HELP = "No server: load the SavedModel, or the newest version in the push folder."
_TOKEN_HELP = (
    "File with a token for the header Authorization: Bearer. "
    f"{TOKEN_VARIABLE} holds the token itself."
)
_RETRIES_HELP = (
    "Attempts after a transient failure. By default until the deadline if the server is "
    "overloaded, and 3 if it cannot be reached."
)
_KEY_PASSWORD_HELP = "File with the pass phrase of an encrypted key (https:// only)."
_CA_HELP = "PEM file of the authorities to trust; by default the system's."


def read_source(
    context: typer.Context,
    url: Annotated[str | None, _from("URL", _URL_HELP)] = None,
    model: Annotated[Path | None, _from("MODEL", _MODEL_HELP)] = None,
    model_name: Annotated[
        str, _from("MODEL_NAME", "The model's name on the server.")
    ] = DEFAULTS.model_name,
    deadline: Annotated[
        float, _from("DEADLINE", "Seconds that a request may take, retries included.")
    ] = DEFAULTS.deadline,
    retries: Annotated[int | None, _from("RETRIES", _RETRIES_HELP)] = DEFAULTS.retries,
    header: Annotated[
        list[str] | None,
        typer.Option(help="Further header as NAME:VALUE; may be repeated.", metavar="NAME:VALUE"),
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help=_TOKEN_HELP)] = None,
    ca_file: Annotated[Path | None, _from("CA_FILE", _CA_HELP)] = None,
    cert_file: Annotated[
        Path | None, _from("CERT_FILE", "PEM file of the client's certificate.")
    ] = None,
    key_file: Annotated[Path | None, _from("KEY_FILE", "PEM file of its key.")] = None,
    key_password_file: Annotated[
        Path | None, _from("KEY_PASSWORD_FILE", _KEY_PASSWORD_HELP)
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let credentials go to another host without TLS.")
    ] = False,
) -> Source:
    """Returns the source that the options name; the command line wins over the environment.

    Raises:
        UserError: a server and a folder are given in the same place, an option is out of range, a
            header has no name, or a file cannot be read.
    """
    if url is not None and model is not None:
        origins = [str(context.get_parameter_source(name)) for name in ("url", "model")]
        typed = ["COMMANDLINE" in origin for origin in origins]
        if typed[0] == typed[1]:
            raise UserError("give --url (a server) or --model (a folder), not both")
        url, model = (url, None) if typed[0] else (None, model)
    options = Options(
        model_name=model_name,
        deadline=deadline,
        retries=retries,
        headers=dict(_split_header(one) for one in header or []),
        token=_read_secret(token_file, "token") or os.environ.get(TOKEN_VARIABLE) or None,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        key_password=_read_secret(key_password_file, "pass phrase"),
        insecure=insecure,
    )
    return Source(None if model else url or DEFAULT_URL, model, options)


def with_source(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces a command's parameter ``source`` by the options of :func:`read_source`."""
    shared = inspect.signature(read_source, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    @functools.wraps(command)
    def run(context: typer.Context, **values: Any) -> None:
        source = {name: values.pop(name) for name in shared if name in values}
        command(context, read_source(context, **source), **values)

    options = [option for name, option in {**own, **shared}.items() if name != "source"]
    vars(run)["__signature__"] = inspect.Signature(options)
    return run


def _split_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        # Not repeated in the message, since it may be a secret.
        raise UserError("--header: needs NAME:VALUE")
    return name.strip(), value.strip()


def _read_secret(file: Path | None, name: str) -> str | None:
    if file is None:
        return None
    try:
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError(f"{file}: the {name} cannot be read ({reason})") from None
    if not secret.strip():
        raise UserError(f"{file}: holds no {name}")
    return secret
