"""Opens a client for a server's address or a model's folder."""

from __future__ import annotations

import os
from pathlib import Path

from components.errors import UserError
from pipeline.client.transports.base import Client
from pipeline.client.types import DEFAULT_URL, Options, parse_address


def connect(url: str = DEFAULT_URL, options: Options | None = None) -> Client:
    """Returns a client of a TF Serving server; the first request opens the connection.

    Raises:
        UserError: not an address (:func:`pipeline.client.types.parse_address`), it does not match
            the options, or a certificate file cannot be read.
    """
    options = options or Options()
    address = parse_address(url)
    if not address.tls and (options.ca_file or options.cert_file):
        raise UserError(f"{address}: certificates need https:// or grpcs://")
    if not (address.tls or address.loopback or options.insecure) and options.all_headers():
        raise UserError(
            f"{address}: would send the credentials in plaintext; use https:// or grpcs://, "
            "or allow it (insecure)"
        )
    if address.scheme in ("http", "https"):
        from pipeline.client.transports.rest import RestClient

        return RestClient(address, options)
    from pipeline.client.transports.grpc import GrpcClient

    return GrpcClient(address, options)


def open_model(folder: str | os.PathLike[str], options: Options | None = None) -> Client:
    """Returns a client that scores in this process; imports TensorFlow and loads the model.

    Args:
        folder: a SavedModel, or a push folder: its newest version, or the one in the options.

    Raises:
        ModelNotLoadedError: there is no SavedModel, or it cannot be loaded.
        WrongSignatureError: the model does not take texts.
    """
    from pipeline.client.transports.local import LocalClient

    return LocalClient(Path(folder), options or Options())
