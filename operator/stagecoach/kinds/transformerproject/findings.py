"""What a person should know about a project before the next stage: each a code, a sentence, the remedy."""

from stagecoach.api.problem import Architecture, Task
from stagecoach.api.resolved import FindingCode, FindingStatus, ReportedFinding
from stagecoach.api.transformerproject import TransformerProjectSpec
from stagecoach.kinds import contracts

REMEDIES = {
    FindingCode.ARCHITECTURE_UNUSUAL: "Say in problem.rationale why it is right here.",
    FindingCode.LICENSE_UNKNOWN: "Set the candidate's license.",
    FindingCode.LEAKAGE: "Remove these rows from one of the data sets.",
    FindingCode.LONGER_THAN_CONTEXT: "Lower tokenization.maxLength, or select another candidate.",
    FindingCode.OVERFLOW_ABOVE_ONE_PERCENT: (
        "Raise tokenization.maxLength, or set overflow Chunk where an Encoder classifies texts or tokens."
    ),
}

# Of a code that is not known here.
LATER = (
    "A later trainer than the operator's found it: upgrade the operator, or have its own trainer look again, by the"
    " annotation stagecoach.dev/requested-at."
)

UNUSUAL = {
    (Task.CLASSIFICATION, Architecture.DECODER): (
        "A Decoder is unusual for Classification: an encoder is smaller and faster."
    ),
    (Task.GENERATION, Architecture.ENCODER_DECODER): (
        "An EncoderDecoder is unusual for Generation: it rewrites what it reads, and a decoder writes more freely."
    ),
}


def of_spec(spec: TransformerProjectSpec) -> list[ReportedFinding]:
    """Return what can be seen in the spec alone."""
    selected = contracts.selected_name(spec)
    found = []
    usual = UNUSUAL.get((spec.problem.task, spec.problem.architecture))
    if usual and spec.problem.rationale is None:
        found.append(ReportedFinding(code=FindingCode.ARCHITECTURE_UNUSUAL.value, message=usual))
    for candidate in spec.candidates:
        if candidate.name == selected and candidate.license is None:
            message = f"The licence of candidate {candidate.name!r} is not known."
            found.append(ReportedFinding(code=FindingCode.LICENSE_UNKNOWN.value, message=message))
    return found


def statuses(spec: TransformerProjectSpec, reported: list[ReportedFinding]) -> list[FindingStatus]:
    """Return all findings, each with its remedy and whether it is accepted."""
    accepted = {item.finding.value for item in spec.accepted}
    merged: dict[str, list[str]] = {}
    for finding in (*of_spec(spec), *reported):
        merged.setdefault(finding.code, []).append(finding.message)
    return [
        FindingStatus(code=code, message=f"{' '.join(messages)} {_remedy(code)}"[:1024], accepted=code in accepted)
        for code, messages in sorted(merged.items())
    ]


def _remedy(code: str) -> str:
    known = {each.value: remedy for each, remedy in REMEDIES.items()}
    if code not in known:
        return LATER
    return f"{known[code]} Or accept it: add {{finding: {code}, reason: …, by: …}} to spec.accepted."
