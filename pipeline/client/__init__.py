"""Asks a served classifier, or one in a folder, for the subjects of abstracts.

    from pipeline.client import connect

    with connect("grpc://127.0.0.1:8500") as client:
        for answer in client.classify(["We prove that ..."]):
            print(answer.label, answer.scores["math"])

:func:`connect` speaks TF Serving's REST or gRPC interface, as the address says; :func:`open_model`
loads the SavedModel into this process. Neither TFX nor TensorFlow is imported, but by the latter.
The command line is ``arxiv-classify`` (:mod:`pipeline.client.cli`). For its sake names are looked
up when they are first used: nothing is imported before it can answer Ctrl-C.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.client.api import (
        Classification,
        Client,
        Options,
        VersionStatus,
        connect,
        open_model,
    )
    from pipeline.client.errors import (
        BadInputError,
        ClientError,
        DeniedError,
        ModelNotLoadedError,
        ServerError,
        TextTooLongError,
        UnavailableError,
        WrongSignatureError,
    )

__all__ = [
    "BadInputError",
    "Classification",
    "Client",
    "ClientError",
    "DeniedError",
    "ModelNotLoadedError",
    "Options",
    "ServerError",
    "TextTooLongError",
    "UnavailableError",
    "VersionStatus",
    "WrongSignatureError",
    "connect",
    "open_model",
]


def __getattr__(name: str) -> Any:
    """Returns a name of ``__all__`` from the module that defines it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "pipeline.client.errors" if name.endswith("Error") else "pipeline.client.api"
    return getattr(import_module(module), name)
