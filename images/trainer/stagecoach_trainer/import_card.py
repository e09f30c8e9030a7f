"""The model card of what was made elsewhere: the record of an import for people."""

from huggingface_hub import ModelCardData

from stagecoach.contract.digests import short
from stagecoach.contract.records import ImportRecord, KnownData
from stagecoach_trainer.card import PIPELINES, library, prompt_lines

UNKNOWN = "Unknown: the run does not say what it was trained on, so nobody knows whether it has seen the test data."


def text(record: ImportRecord) -> str:
    """Return the card in Markdown, with the metadata block that model hubs read."""
    found = record.imported
    known = () if isinstance(found.trained_on, str) else found.trained_on
    data = ModelCardData(
        base_model=record.base.name,
        library_name=library(record),
        pipeline_tag=PIPELINES[record.inputs.task],
        tags=[found.method.lower(), "imported", "stagecoach"],
        datasets=[item.name for item in known] or None,
    )
    title = f"# {record.project}: {record.artifact.type.lower()} {short(record.artifact.digest)}"
    what = f"Made elsewhere and imported for the task {record.inputs.task}. How it was trained is not known here."
    prompt = "\n".join(("## Prompt\n", *prompt_lines(record.inputs)))
    parts = (title, what, _table(record), f"## Trained on\n\n{_data(known)}", prompt)
    return f"---\n{data.to_yaml()}\n---\n" + "\n\n".join(parts) + "\n"


def _table(record: ImportRecord) -> str:
    found, owner = record.imported, record.owner
    rows = {
        "Owner": f"{owner.name} ({owner.contact})" if owner.contact else owner.name,
        "Run": f"{record.subject.namespace}/{record.subject.name}, attempt {record.attempt}",
        "Imported from": f"{found.uri} at {found.revision}" if found.revision else found.uri,
        "Digest there": found.source,
        "Method": found.method,
        "Adapted modules": ", ".join(found.target_modules),
        "Modules brought whole": ", ".join(found.whole_modules or ()),
        "Parameters": f"{found.parameters}, {found.precision}",
        "Base model": f"{record.base.uri} ({record.base.architecture})",
        "Base licence": record.base.license or "unknown",
        "Base digest": record.base.model,
        "Tokenizer digest": record.base.tokenizer,
        "Artifact": f"{record.artifact.digest}, {record.artifact.bytes} bytes",
        "Inputs": record.inputs_digest,
        "Labels": ", ".join(f"`{label}`" for label in record.labels),
        "Image": record.software.image,
        "Imported at": record.finished,
    }
    cells = ((name, value.replace("|", "\\|").replace("\n", " ")) for name, value in rows.items() if value)
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells)))


def _data(known: tuple[KnownData, ...]) -> str:
    if not known:
        return UNKNOWN
    lines = (f"| {item.name} | {item.split} | {item.digest} |" for item in known)
    return "\n".join(("As the run says:\n", "| set | split | digest |", "|---|---|---|", *lines))
