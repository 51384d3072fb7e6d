"""Classifies texts, with a server or a model in a folder.

    from pipeline.client import connect

    with connect("grpc://127.0.0.1:8500") as client:
        for answer in client.classify(["We prove that ..."]):
            print(answer.label, answer.scores["math"])

:func:`connect` uses TF Serving's REST or gRPC interface, by the address; only :func:`open_model`,
which loads the SavedModel into this process, imports TensorFlow. The command line is
``arxiv-classify`` (:mod:`pipeline.client.cli`).
"""

from pipeline.client.connection import connect, open_model
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
from pipeline.client.transports.base import Client
from pipeline.client.types import Classification, Options, VersionStatus

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
