"""EveryFailureSpeaks: what is not well says why, and what to do about it."""

import re

# Reasons of what goes on by itself, and of a run whose project says what to do.
NOTHING_TO_DO = {"Starting", "ColdStart", "Running", "Stopping", "Resolving", "ProjectNotReady"}
# How a clause begins that says what to do, who does it, or that nobody has to.
_BEGINNINGS = (
    *("accept", "add", "bring", "choose", "correct", "create", "delete", "give", "grant", "let", "lower", "make"),
    *("meet", "mend", "move", "put", "raise", "remove", "renew", "report", "restore", "say", "see", "select", "set"),
    *("shorten", "split", "take", "upgrade", "use", "write", "kubectl", "whoever", "nothing to do"),
)
_REMEDY = re.compile(rf"(^|[.:;,)] |\bor |\bplease )({'|'.join(_BEGINNINGS)})\b", re.IGNORECASE)


def speaks(reason: str, message: str) -> bool:
    """Whether there is a reason, and words that say what to do, if there is anything to do."""
    return bool(reason and message.strip()) and (reason in NOTHING_TO_DO or _REMEDY.search(message) is not None)
