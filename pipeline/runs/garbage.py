"""Finds what earlier runs left behind and nothing needs any more, and removes it.

ML Metadata has no way to delete a row. An artifact whose folder is removed is marked DELETED, which
is what TFX itself goes by: it neither resolves such an artifact nor takes it from the cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from components.errors import UserError
from components.executions import COMPARED
from pipeline.runs import record
from pipeline.runs.history import History, RunState
from pipeline.runs.lineage import Lineage

SCRATCH = "a finished node's own scratch folder"

_SYSTEM = ".system"
_ALIVE = (pb.Artifact.LIVE, pb.Artifact.UNKNOWN)
_BLESSED = "blessed"
_PUSHED = "pushed"
_DESTINATION = "pushed_destination"


@dataclass(frozen=True)
class Removal:
    """A folder or file to remove.

    Attributes:
        path: of it.
        why: in a few words.
        size: of its files, bytes.
        artifact: the artifact whose folder it is; None where no artifact has it.
    """

    path: Path
    why: str
    size: int
    artifact: int | None = None


@dataclass(frozen=True)
class Plan:
    """What could go.

    Attributes:
        removals: folders and files, the largest first.
        gone: artifacts that ML Metadata has for alive, whose folders are not there.
        kept: {artifact id: why it stays}, of those alive.
        unfinished: executions that a killed run left as running.
    """

    removals: tuple[Removal, ...]
    gone: tuple[int, ...]
    kept: dict[int, str]
    unfinished: int = 0

    @property
    def size(self) -> int:
        """What removing frees, bytes."""
        return sum(removal.size for removal in self.removals)


@dataclass
class _Keeping:
    """Collects what stays, each with the first reason given."""

    lineage: Lineage
    why: dict[int, str] = field(default_factory=dict)

    def keep(self, artifacts: set[int], why: str) -> None:
        for artifact in artifacts:
            self.why.setdefault(artifact, why)

    def with_origin(self, artifacts: set[int], why: str) -> None:
        self.keep(artifacts, why)
        ancestors = self.lineage.ancestors(artifacts)
        self.keep(ancestors, f"origin of a {why}")
        # An execution is taken from the cache with all that it put out, or not at all.
        for links in self.lineage.outputs.values():
            together = {link.artifact for link in links}
            if together & ancestors:
                self.keep(together, f"made along with the origin of a {why}")


def plan(
    history: History,
    pipeline_root: Path,
    output_dir: Path,
    keep_runs: int,
    keep_blessed: int | None = None,
) -> Plan:
    """Decides what goes and what stays; changes nothing.

    These stay: every blessed model, or the last ``keep_blessed`` ones; every model whose pushed
    version is in the serving folder or was the last to be pushed; the verdicts on these models and
    the pushes of them; whatever they were made from, over any number of steps; what the last
    ``keep_runs`` complete runs and any run after them put out or were given; everything outside
    ``pipeline_root``.

    Args:
        history: of the database.
        pipeline_root: only what lies in it is ever removed.
        output_dir: the folder of the runs' records.
        keep_runs: how many complete runs keep everything, 1 or more.
        keep_blessed: how many of the models blessed last stay, 1 or more; None means all.

    Raises:
        UserError: ``keep_runs`` or ``keep_blessed`` is less than 1.
    """
    if keep_runs < 1:
        raise UserError(f"--keep {keep_runs}: at least one run must be kept")
    if keep_blessed is not None and keep_blessed < 1:
        raise UserError(f"--keep-blessed {keep_blessed}: at least one blessed model must be kept")
    data = history.lineage
    keeping = _Keeping(data)
    _keep_models(keeping, keep_blessed)
    for run_id in _recent(history, keep_runs):
        for execution in data.runs[run_id]:
            linked = [*data.inputs.get(execution, []), *data.outputs.get(execution, [])]
            keeping.keep({link.artifact for link in linked}, f"run {run_id}")
    root = Path(os.path.realpath(pipeline_root))
    alive = {one.id: one for one in data.artifacts.values() if one.state in _ALIVE}
    taken = {Path(os.path.normpath(one.uri)) for one in alive.values() if one.id in keeping.why}
    removals: list[Removal] = []
    gone: list[int] = []
    for artifact in alive.values():
        place = _inside(artifact.uri, root)
        if artifact.id in keeping.why or place is None:
            continue
        if not os.path.lexists(place):
            gone.append(artifact.id)
        elif not _overlaps(place, taken, root):
            why = f"{artifact.type} of no run that is kept"
            removals.append(Removal(place, why, _size(place), artifact.id))
    removals += _orphans(root, data)
    removals += _lost_records(output_dir, data)
    removals.sort(key=lambda removal: (-removal.size, removal.path))
    unfinished = sum(
        execution.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW)
        for execution in data.executions.values()
    )
    return Plan(
        tuple(removals),
        tuple(gone),
        {one: why for one, why in keeping.why.items() if one in alive},
        unfinished,
    )


def carry_out(plan: Plan, store: mlmd.MetadataStore) -> None:
    """Removes what a plan names; call it only under the run lock that the plan was made under.

    An artifact is marked before its folder goes: where this is cut short, the next plan finds a
    folder that belongs to nothing.

    Args:
        plan: of this very database.
        store: open for writing.

    Raises:
        UserError: a folder cannot be removed.
    """
    marked = [one.artifact for one in plan.removals if one.artifact is not None]
    artifacts = (
        list(store.get_artifacts_by_id([*marked, *plan.gone])) if marked or plan.gone else []
    )
    for artifact in artifacts:
        artifact.state = pb.Artifact.DELETED
    if artifacts:
        store.put_artifacts(artifacts)
    for removal in plan.removals:
        try:
            if removal.path.is_dir() and not removal.path.is_symlink():
                shutil.rmtree(removal.path)
            else:
                removal.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot remove {removal.path}: {error.strerror or error}; "
                "mend the folder's permissions and run gc again, which goes on from there"
            ) from error


def _recent(history: History, keep_runs: int) -> list[str]:
    """The last complete runs, and all that came after the oldest of them."""
    ids: list[str] = []
    complete = 0
    for run_id in reversed(history.ids):
        ids.append(run_id)
        complete += history.run(run_id).state is RunState.COMPLETE
        if complete == keep_runs:
            break
    return ids


def _keep_models(keeping: _Keeping, keep_blessed: int | None) -> None:
    """Keeps the blessed and the pushed models, their origin, and what came of them."""
    data = keeping.lineage
    users: dict[int, list[int]] = {}
    for execution, links in data.inputs.items():
        for link in links:
            # Otherwise every later run would be about the models before it.
            if link.key not in COMPARED:
                users.setdefault(link.artifact, []).append(execution)
    last_push = max(
        (one.id for one in data.artifacts.values() if _number(one, _PUSHED) == 1), default=None
    )
    blessed = _last_blessed(data, keep_blessed)
    for artifact in data.artifacts.values():
        if artifact.state not in _ALIVE:
            continue
        if artifact.id in blessed:
            models, why = blessed[artifact.id], "blessed model"
        elif artifact.type == "PushedModel" and _number(artifact, _PUSHED) == 1:
            served = Path(artifact.custom_properties[_DESTINATION].string_value)
            if not served.is_dir() and artifact.id != last_push:
                continue
            models, why = _models_judged(data, artifact.id), "pushed model"
            keeping.keep({artifact.id}, why)
        else:
            continue
        keeping.with_origin(models, why)
        keeping.keep(_after(data, users, models), f"about a {why}")


def _last_blessed(data: Lineage, count: int | None) -> dict[int, set[int]]:
    """{blessing: models that it is about}, of the models that were blessed last; None: of all."""
    found: dict[int, set[int]] = {}
    models: set[int] = set()
    for number in sorted(data.artifacts, reverse=True):
        artifact = data.artifacts[number]
        if artifact.type != "ModelBlessing" or _number(artifact, _BLESSED) != 1:
            continue
        if artifact.state not in _ALIVE:
            continue
        judged = _models_judged(data, number)
        # A model may have been blessed again and again.
        if count is None or judged <= models or len(models) < count:
            found[number] = judged
            models |= judged
    return found


def _models_judged(data: Lineage, artifact: int) -> set[int]:
    """The models that the makers of a blessing or a push were given."""
    return {
        link.artifact
        for execution, outputs in data.outputs.items()
        if any(output.artifact == artifact for output in outputs)
        for link in data.inputs.get(execution, [])
        if link.key == "model"
    }


def _after(data: Lineage, users: dict[int, list[int]], artifacts: set[int]) -> set[int]:
    """What was made out of these, over any number of steps."""
    found: set[int] = set()
    waiting = list(artifacts)
    while waiting:
        for execution in users.get(waiting.pop(), []):
            for link in data.outputs.get(execution, []):
                if link.artifact not in found:
                    found.add(link.artifact)
                    waiting.append(link.artifact)
    return found


def _orphans(root: Path, data: Lineage) -> Iterator[Removal]:
    """Folders of executions that no artifact lies in, and what nodes leave of their own work.

    They are known by their last three parts, so that a folder which was copied or moved, whose
    artifacts ML Metadata has elsewhere, is not taken for one of orphans.
    """
    known = {
        tuple(Path(artifact.uri).parts[-3:])
        for artifact in data.artifacts.values()
        if artifact.state not in (pb.Artifact.DELETED, pb.Artifact.ABANDONED)
    }
    nodes = set(data.nodes.values())
    for node in sorted(root.iterdir()) if root.is_dir() else []:
        if node.name not in nodes or node.is_symlink() or not node.is_dir():
            continue
        for output in sorted(node.iterdir()):
            if output.is_symlink() or not output.is_dir():
                continue
            if output.name == _SYSTEM:
                for kind in sorted(output.iterdir()):
                    for left in sorted(kind.iterdir()) if kind.is_dir() else []:
                        yield Removal(left, SCRATCH, _size(left))
                continue
            for place in sorted(output.iterdir()):
                if place.name.isdigit() and (node.name, output.name, place.name) not in known:
                    yield Removal(place, "belongs to no artifact", _size(place))


def _lost_records(output_dir: Path, data: Lineage) -> Iterator[Removal]:
    for run_id, own in record.read_all(output_dir).items():
        if run_id not in data.runs:
            file = own.file(output_dir)
            yield Removal(file, "record of a run that ML Metadata does not know", _size(file))


def _inside(uri: str, root: Path) -> Path | None:
    """The folder of an artifact, where it is at least three levels below the root; else None."""
    if not uri or "://" in uri:
        return None
    path = Path(os.path.normpath(uri))
    place = Path(os.path.realpath(path.parent)) / path.name
    if root not in place.parents or len(place.relative_to(root).parts) < 3:
        return None
    return place


def _overlaps(place: Path, taken: set[Path], root: Path) -> bool:
    """True where something that stays lies in the folder, or the folder in it."""
    for other in taken:
        there = _inside(os.fspath(other), root)
        if there is not None and (
            there == place or there in place.parents or place in there.parents
        ):
            return True
    return False


def _number(artifact: pb.Artifact, name: str) -> int:
    table = artifact.custom_properties
    return table[name].int_value if name in table else 0


def _size(place: Path) -> int:
    """Bytes of the files in a folder, or of a file; a link counts as itself."""
    if place.is_symlink() or not place.is_dir():
        return place.lstat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, files in os.walk(place)
        for name in files
    )
