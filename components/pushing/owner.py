"""The owner of a push folder: the one pipeline whose models are served from it."""

from __future__ import annotations

from pathlib import Path

from components.contracts.record import Record
from components.errors import UserError

# TF Serving ignores names that are not numbers.
OWNER_FILE = ".owner.json"


class Owner(Record):
    """A pipeline: its name, and its ``run.output_dir``, where ML Metadata knows what it pushed.

    Without a name, it stands for whichever pipeline runs in the output folder.
    """

    pipeline: str = ""
    output_dir: str = ""

    def __str__(self) -> str:
        return f"pipeline {self.pipeline or '?'} with the output folder {self.output_dir}"


def owner_of(folder: Path) -> Owner | None:
    """Returns a push folder's owner; None before the first push.

    Raises:
        UserError: the record cannot be read.
    """
    path = folder / OWNER_FILE
    try:
        return Owner.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; mend its permissions") from None
    except ValueError:
        raise UserError(
            f"{path}: damaged, so whose folder it is cannot be told; remove it, and the next push "
            "writes it anew"
        ) from None


def check_owner(folder: Path, owner: Owner) -> None:
    """Checks that a pipeline may change a push folder: it owns it, or nobody does.

    Raises:
        UserError: it is another's.
    """
    found = owner_of(folder) or owner
    if found.output_dir == owner.output_dir and owner.pipeline in ("", found.pipeline):
        return
    raise UserError(
        f"{folder} belongs to the {found}, not to the {owner}; name a folder of its own as "
        f"run.serving_dir or, to hand this one over, remove {folder / OWNER_FILE}"
    )


def take(folder: Path, owner: Owner) -> None:
    """Makes a pipeline the owner of a push folder; its caller holds the folder's lock.

    Raises:
        OSError: the folder is not writable.
        UserError: it is another's.
    """
    check_owner(folder, owner)
    if owner_of(folder) is None:
        owner.write(folder / OWNER_FILE)
        (folder / OWNER_FILE).chmod(0o644)
