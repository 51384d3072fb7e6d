"""Certificates of an encrypted connection, checked before the first request."""

from __future__ import annotations

import ssl

from components.errors import UserError
from pipeline.client.types import Options


def make_context(options: Options) -> ssl.SSLContext:
    """Returns the TLS settings: trusted authorities and the client's own certificate.

    Raises:
        UserError: a file cannot be read, is not PEM, or key and certificate do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise UserError(f"{options.ca_file}: not a readable PEM file ({error})") from None
    if options.cert_file:
        try:
            context.load_cert_chain(options.cert_file, options.key_file)
        except OSError as error:
            key = f" and {options.key_file}" if options.key_file else ""
            raise UserError(
                f"{options.cert_file}{key}: not a readable certificate and its key ({error})"
            ) from None
    return context
