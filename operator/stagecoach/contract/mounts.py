"""Where a pod finds what a URI names. The operator mounts by these paths, programs read by them."""

from stagecoach.contract.uris import Uri

ROOT = "/stagecoach"
STORAGE = f"{ROOT}/storage"
SCRATCH = f"{ROOT}/scratch"
CREDENTIALS = f"{ROOT}/credentials"
# Where an engine finds models, by their digests; adapters name their base by its path there (layout.served_base_path).
MODELS = "/models"
# A folder for each tokenizer by the digits of its digest, as a gateway reads them.
TOKENIZERS = f"{ROOT}/tokenizers"
# The Secret that the pods of a deployment share, a file for each key that the pod needs.
KEYS = f"{ROOT}/keys"
# Where a gateway writes samples and feedback.
SAMPLES = f"{ROOT}/samples"
# The signed routes of a deployment.
ROUTES = f"{ROOT}/routes"
# What an engine writes, and nobody else.
ENGINE = f"{ROOT}/engine"
# Certificate authorities that are trusted beside those of the image.
AUTHORITIES = f"{ROOT}/authorities"
AUTHORITIES_FILE = "ca.crt"


def folder_of(uri: Uri) -> str:
    """Return the folder at which the claim or ConfigMap of a URI is mounted."""
    return f"{ROOT}/{uri.scheme}/{uri.name}"


def path_of(uri: Uri) -> str:
    """Return the path of what a URI names, inside the pod."""
    return f"{folder_of(uri)}/{uri.path}" if uri.path else folder_of(uri)


def secret_folder(secret: str) -> str:
    """Return the folder at which a Secret is mounted, a file for each of its keys."""
    return f"{CREDENTIALS}/{secret}"
