"""Opens the ML Metadata database, without importing TFX."""

import os
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from components.executions import RUN_CONTEXT


def connect(database: Path, *, create: bool = False, write: bool = False) -> mlmd.MetadataStore:
    """Opens a database.

    Args:
        database: the SQLite file.
        create: True opens it for writing too, and makes one where there is none.
        write: True opens one that is there for writing too.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not create and not database.is_file():
        raise UserError(
            f"{database}: there is no such database, so no run has been made into that folder; "
            "name another one with --config or --output-dir, or start a run"
        )
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = os.fspath(database)
    modes = pb.SqliteMetadataSourceConfig
    mode = modes.READWRITE if write else modes.READONLY
    config.sqlite.connection_mode = modes.READWRITE_OPENCREATE if create else mode
    try:
        store = mlmd.MetadataStore(config)
        # Damage beyond the first pages shows only when something is asked for.
        store.get_contexts_by_type(RUN_CONTEXT)
    except Exception as error:
        # ML Metadata appends the whole query, after two blanks.
        cause = str(error).partition(" query:  ")[0]
        raise UserError(
            f"{database} is not a readable ML Metadata database: {cause}; "
            "move it away to start anew"
        ) from error
    return store
