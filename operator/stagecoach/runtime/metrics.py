"""What the operator counts about itself, served at /metrics."""

from prometheus_client import Counter, Gauge, Histogram

QUEUE_DEPTH = Gauge("stagecoach_queue_depth", "Keys that wait for a worker.")
QUEUE_WAIT = Histogram(
    "stagecoach_queue_wait_seconds",
    "From the first event of a key to the start of its reconcile. What nothing happened to is not counted.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
RECONCILE_SECONDS = Histogram(
    "stagecoach_reconcile_seconds",
    "Reconcile and execution of its plan, by kind.",
    ["kind"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
RECONCILE_ERRORS = Counter(
    "stagecoach_reconcile_errors_total", "Reconciles that did not complete, by kind and cause.", ["kind", "cause"]
)
STATUS_WRITES = Counter("stagecoach_status_writes_total", "Status writes that succeeded, by kind.", ["kind"])
API_REQUESTS = Counter(
    "stagecoach_api_requests_total",
    "Requests to the API server; code `none` had no answer.",
    ["verb", "resource", "code"],
)
API_SECONDS = Histogram(
    "stagecoach_api_request_seconds",
    "Latency of answered requests to the API server.",
    ["verb", "resource"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
CALLS = Counter(
    "stagecoach_calls_total",
    "Questions to pods of ModelDeployments; code `none` had no answer.",
    ["method", "path", "code"],
)
WATCH_RESTARTS = Counter(
    "stagecoach_watch_restarts_total", "Watches of children that had to start again, by cause.", ["resource", "cause"]
)
LEADER = Gauge("stagecoach_leader", "1 while this process holds the lease.")
SYNCED = Gauge(
    "stagecoach_synced", "1 while every watch has delivered what exists; nothing is decided where one has not."
)
OBJECTS = Gauge("stagecoach_objects", "Objects by kind and phase.", ["kind", "phase"])
OVERRIDDEN = Gauge(
    "stagecoach_overridden",
    "1 for a release that a ModelDeployment serves, or is about to, by an Override, and that has not passed its gates.",
    ["object_namespace", "deployment", "release", "place"],
)
PODS_WANTED = Gauge(
    "stagecoach_engine_pods_wanted",
    "Engine pods that a ModelDeployment is to have by its spec.autoscaling.",
    ["object_namespace", "deployment"],
)
EVENTS_FAILED = Counter("stagecoach_events_failed_total", "Kubernetes Events that could not be written.")
FACTS_FAILED = Counter("stagecoach_facts_failed_total", "Facts that could not be fetched, by sort.", ["fact"])
