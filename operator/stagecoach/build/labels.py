"""Labels of every child, by which the operator lists, watches and maps them back to their owner."""

GROUP = "stagecoach.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MANAGED_BY = {"app.kubernetes.io/managed-by": "stagecoach"}
OWNER_KIND = f"{GROUP}/kind"
OWNER_NAME = f"{GROUP}/name"
OWNER_UID = f"{GROUP}/uid"
# On pods whose stdout carries progress lines.
REPORTS_PROGRESS = f"{GROUP}/reports-progress"
