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
# What a pod of a ModelDeployment is, and of which engine.
COMPONENT = f"{GROUP}/component"
ENGINE, GATEWAY = "engine", "gateway"
ENGINE_NAME = f"{GROUP}/engine"
# On what is applied: a digest of it, by which a change of what is wanted is seen.
APPLIED = f"{GROUP}/applied"
# On a ConfigMap with routes: their revision.
REVISION = f"{GROUP}/revision"
