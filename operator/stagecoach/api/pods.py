"""What a project says about its pods: what a Job would be refused for is refused here, when it is written."""

from typing import Annotated

from annotated_types import Len
from pydantic import Field, StringConstraints

from stagecoach.api.common import (
    OBJECT_NAME,
    SUBDOMAIN,
    BaseModel,
    Enum,
    LocalSecret,
    Matches,
    ObjectName,
    Optional,
    cel,
    rules,
)

# A label's value, which the name of a queue becomes.
MAX_VALUE = 63
MAX_PREFIX = 253
MAX_KEY = MAX_PREFIX + 1 + MAX_VALUE
_WORD = f"[A-Za-z0-9]([-A-Za-z0-9_.]{{0,{MAX_VALUE - 2}}}[A-Za-z0-9])?"
_KEY = f"({SUBDOMAIN}/)?{_WORD}"
_NAME_WORDS = f"the name of at most {MAX_VALUE} letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_KEY_WORDS = f"<name> or <domain>/<name>: {_NAME_WORDS}"
QueueName = Annotated[str, StringConstraints(max_length=MAX_VALUE), OBJECT_NAME]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=MAX_VALUE),
    Matches(
        f"^({_WORD})?$", "must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, or be empty"
    ),
]
TaintKey = Annotated[str, StringConstraints(max_length=MAX_KEY), Matches(f"^({_KEY})?$", f"must be {_KEY_WORDS}")]
# Quotas call a resource requests.<domain>/<name>, and Kubernetes takes only what they can call so.
_COUNTED = "requests."
RESOURCE = Matches(f"^{SUBDOMAIN}/{_WORD}$", f"must be <domain>/<name>, such as nvidia.com/gpu: {_NAME_WORDS}")
RESOURCE_RULES = rules(
    RESOURCE.rule,
    cel(f"!self.startsWith('{_COUNTED}')", f"must be the name that nodes have, which does not begin with {_COUNTED}"),
)
# The longest domain that leaves room for that, and a name of one character: whatever is longer may be too long.
MAX_RESOURCE = MAX_PREFIX - len(_COUNTED) + len("/a")
ResourceName = Annotated[str, StringConstraints(max_length=MAX_RESOURCE), RESOURCE]
LabelMap = Annotated[dict[str, LabelValue], Len(max_length=32)]
KEY_RULE = cel(
    f"self.all(key, size(key) <= {MAX_KEY} && key.indexOf('/') <= {MAX_PREFIX} && key.matches('^{_KEY}$'))",
    f"a label's key must be {_KEY_WORDS}",
)
# What the operator, Kubernetes' controller of Jobs and Kueue put on Jobs and pods, and find them by.
RESERVED_DOMAINS = ("stagecoach.dev/", "batch.kubernetes.io/")
RESERVED_KEYS = ("app.kubernetes.io/managed-by", "job-name", "controller-uid")
QUEUE_KEY = "kueue.x-k8s.io/queue-name"
RESERVED_RULE = cel(
    f"self.all(key, !(key in {list(RESERVED_KEYS)}) &&"
    f" {' && '.join(f'!key.startsWith({domain!r})' for domain in RESERVED_DOMAINS)})",
    f"pods.labels may not hold {', '.join(RESERVED_KEYS)}, or a key that begins with"
    f" {' or '.join(RESERVED_DOMAINS)}: Jobs and pods are found by them. Choose another key",
)
QUEUE_RULE = cel(
    f"!('{QUEUE_KEY}' in self)", f"pods.labels may not hold {QUEUE_KEY}: name the queue in pods.queue instead"
)


class TolerationOperator(Enum):
    """How a toleration compares."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(Enum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


TOLERATION_RULES = rules(
    cel(
        "has(self.key) && self.key != '' || has(self.operator) && self.operator == 'Exists'",
        "a toleration without a key is of every taint: set operator Exists, or a key",
    ),
    cel(
        "!has(self.value) || self.value == '' || !has(self.operator) || self.operator == 'Equal'",
        "a toleration's value is for operator Equal: leave it out, or set this operator",
    ),
    cel(
        "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
        "tolerationSeconds is for effect NoExecute: leave it out, or set this effect",
    ),
)


class Toleration(BaseModel, json_schema_extra=TOLERATION_RULES):
    """A toleration, as in a pod's spec."""

    key: Optional[TaintKey] = Field(None, description="Taint key; empty with Exists matches every taint.")
    operator: Optional[TolerationOperator] = Field(None, description="Exists or Equal. Default: Equal.")
    value: Optional[LabelValue] = Field(None, description="Taint value, for Equal.")
    effect: Optional[TaintEffect] = Field(None, description="Taint effect; empty matches every effect.")
    toleration_seconds: Optional[int] = Field(None, ge=0, description="How long NoExecute is tolerated, in seconds.")


class PodSettings(BaseModel):
    """What every pod of a project gets."""

    queue: Optional[QueueName] = Field(
        None,
        description="Kueue's LocalQueue, in the same namespace. Every Job is made suspended and starts when the queue"
        " admits it. Default: none, Jobs start at once.",
    )
    service_account_name: Optional[ObjectName] = Field(
        None, description="ServiceAccount of the pods. Its token is not mounted. Default: the namespace's default."
    )
    image_pull_secrets: list[LocalSecret] = Field(
        [], max_length=8, description="Secrets to pull images with. Default: none."
    )
    priority_class_name: Optional[ObjectName] = Field(None, description="PriorityClass of the pods. Default: none.")
    node_selector: LabelMap = Field(
        {}, description="Labels that a node must have. Default: none.", json_schema_extra=rules(KEY_RULE)
    )
    tolerations: list[Toleration] = Field(
        [], max_length=16, description="Taints that the pods tolerate. Default: none."
    )
    labels: LabelMap = Field(
        {},
        description="Labels added to the Jobs and pods. Keys by which these are found are refused: stagecoach.dev/…,"
        " batch.kubernetes.io/…, app.kubernetes.io/managed-by, kueue.x-k8s.io/queue-name. Default: none.",
        json_schema_extra=rules(KEY_RULE, RESERVED_RULE, QUEUE_RULE),
    )
