"""Where things lie in a project's storage. The storage outlives the cluster: this layout is an interface.

artifacts/sha256/<hex>/          the files of a model or adapter
artifacts/sha256/<hex>.manifest.json   written last: without it the artifact is not there
artifacts/sha256/<hex>.used.json       when a run last adopted the artifact
artifacts/sha256/<hex>.leaving.json    in the manifest's stead: retention removes the artifact after a notice
artifacts/sha256/<hex>.removed.json    retention removed it; its records stay
pins/<hex>                       whatever its content, it keeps retention from the artifact or the run of these digits
runs/<inputs hex>/record.json    what the first run with these inputs produced
runs/<inputs hex>/README.md      the same for people (a model card)
runs/<inputs hex>/loss.svg       the losses of its training, a picture in the card
runs/<inputs hex>/record.<12 hex>.json, README.<12 hex>.md, loss.<12 hex>.svg
                                 those of any other run with them, by the digest of its record
runs/<inputs hex>/profile.json   how the texts that it trained on look; profile.<12 hex>.json if counted otherwise
runs/<inputs hex>/checkpoints/<run uid>/
    step-<step>.<attempt>/       a training in progress, from which another attempt goes on
    step-<step>.<attempt>.json   written last: without it the checkpoint is not there
outputs/<release hex>/<rows hex>.jsonl   what a release answered to each row of a data set, by its columns
outputs/<release hex>/<rows hex>.json    written last: how many rows, and the digest of the answers
releases/<hex>.json              what a release is made of
evaluations/<key hex>/report.json, report.html   what was measured, for machines and for people
evaluations/<key hex>/record.json   written last: the verdict, which never changes
evaluations/<key hex>/record.<n>.json   from 2 on: of an evaluation that was done anew, for those before were damaged
staging/<run uid>-<attempt>/     work of an attempt that has not published yet; the next removes what a killed one left

A record is never replaced: whoever knows one by name and digest finds it. Versions of before gave record.json to the
newest run, and the names with digits, without a card, to those that had it earlier.

Checkpoints are a run's own, and of the attempt that wrote them: one that was thought lost may still be writing. They go
when the run has its artifact, with what older runs of the same inputs left there that are over. Nobody else removes
them but retention: another run, or one of another cluster, may be about to go on from its own.
"""

from stagecoach.contract import mounts
from stagecoach.contract.digests import hex_of, short

ARTIFACTS = "artifacts/sha256"
EVALUATIONS = "evaluations"
OUTPUTS = "outputs"
PINS = "pins"
RELEASES = "releases"
RUNS = "runs"
STAGING = "staging"
RECORD = "record.json"
RECORD_PATTERN = r"^record([.][0-9a-f]{12})?[.]json$"


def artifact_folder(digest: str) -> str:
    """Return the folder of an artifact, relative to the storage's root."""
    return f"{ARTIFACTS}/{hex_of(digest)}"


def manifest_file(digest: str) -> str:
    """Return the file whose presence says that the artifact is complete."""
    return f"{artifact_folder(digest)}.manifest.json"


def used_file(digest: str) -> str:
    """Return the file that says when a run last adopted an artifact."""
    return f"{artifact_folder(digest)}.used.json"


def leaving_file(digest: str) -> str:
    """Return the file that stands in the manifest's stead while an artifact is about to be removed."""
    return f"{artifact_folder(digest)}.leaving.json"


def removed_file(digest: str) -> str:
    """Return the file that says when retention removed an artifact."""
    return f"{artifact_folder(digest)}.removed.json"


def run_folder(inputs_digest: str) -> str:
    """Return the folder of all that is known about the run with these inputs."""
    return f"{RUNS}/{hex_of(inputs_digest)}"


def record_file(inputs_digest: str, name: str = RECORD) -> str:
    """Return a record of these inputs: by its name, or the first one."""
    return f"{run_folder(inputs_digest)}/{name}"


def record_name(digest: str) -> str:
    """Return the name of a record that is not the first one of its inputs, by the digest of its content."""
    return f"record.{short(digest)}.json"


def beside(record: str, name: str) -> str:
    """Return what a file is called that belongs to the record of a name: it has the same digits before its ending."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}{record.removeprefix('record').removesuffix('json')}{ending}"


def profile_file(inputs_digest: str, digest: str | None = None) -> str:
    """Return the profile of the texts that runs with these inputs train on, or another of them by its digest."""
    return f"{run_folder(inputs_digest)}/profile{f'.{short(digest)}' if digest else ''}.json"


def checkpoints_folder(inputs_digest: str, uid: str = "") -> str:
    """Return the folder of all checkpoints of these inputs, or of those of one run."""
    folder = f"{run_folder(inputs_digest)}/checkpoints"
    return f"{folder}/{uid}" if uid else folder


def release_file(digest: str) -> str:
    """Return the file that says what a release is made of."""
    return f"{RELEASES}/{hex_of(digest)}.json"


def outputs_file(release: str, rows: str) -> str:
    """Return the file with what a release answered to each row; `rows` is the identity of data and columns."""
    return f"{OUTPUTS}/{hex_of(release)}/{hex_of(rows)}.jsonl"


def outputs_manifest(release: str, rows: str) -> str:
    """Return the file whose presence says that the answers are complete."""
    return f"{OUTPUTS}/{hex_of(release)}/{hex_of(rows)}.json"


def evaluation_folder(key: str) -> str:
    """Return the folder of an evaluation's report and record."""
    return f"{EVALUATIONS}/{hex_of(key)}"


def evaluation_record(key: str, number: int = 1) -> str:
    """Return the file whose presence says that an evaluation is decided, or its nth: those before were damaged."""
    name = "record.json" if number == 1 else f"record.{number}.json"
    return f"{evaluation_folder(key)}/{name}"


def staging_folder(uid: str) -> str:
    """Return the folder that a Job may write before it publishes."""
    return f"{STAGING}/{uid}"


def served_base_path(model_digest: str) -> str:
    """Return the path under which every engine finds this base model, and which adapters name as their base."""
    return f"{mounts.MODELS}/{hex_of(model_digest)}"
