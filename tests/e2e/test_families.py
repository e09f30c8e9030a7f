"""Models of every family and task, with all that a project may reach over the network: an object store and a tracking server."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests import builders
from tests.e2e import servers
from tests.e2e.conftest import DATA, LATE, SMALL, Desk, Ground, new_desk

pytestmark = pytest.mark.long

SERVERS = "servers"
STORE_PORT, TRACKING_PORT = 7070, 5000
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
TRAIN = "s3://lake/desk/train.csv"
# What is put there by other ways than its own has not all that the store should know of it.
STORE = f"""
mkdir -p /data/meta /data/buckets/lake
versitygw --port :{STORE_PORT} posix --sidecar /data/meta /data/buckets &
until python3 -c '
import os, s3fs
secret = os.environ["ROOT_SECRET_KEY"]
store = s3fs.S3FileSystem(key=os.environ["ROOT_ACCESS_KEY"], secret=secret, endpoint_url="http://127.0.0.1:{STORE_PORT}")
store.put("/rows/*.csv", "lake/desk/")
store.put("/rows/*.jsonl", "lake/desk/")
'; do sleep 1; done
touch /data/ready
wait
"""
TELLER = {"username": "trainer", "password": "not-a-secret-either"}
# It answers to its Service's name, and in its own pod, to whoever has the password: whoever calls it by an address is
# refused.
TRACKING = f"""
cd /data
printf '[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:////data/people.db\nadmin_username = %s\n' "$TELLER" > auth.ini
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port {TRACKING_PORT} --workers 1 \
  --allowed-hosts '*.svc:{TRACKING_PORT},127.0.0.1:{TRACKING_PORT}' \
  --backend-store-uri sqlite:////data/mlflow.db --artifacts-destination /data/artifacts
"""
RUNS = f"""
import base64, json, os, sys, urllib.request
known = base64.b64encode((os.environ["TELLER"] + ":" + os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]).encode()).decode()
def ask(path, **asked):
    body = json.dumps(asked).encode() if asked else None
    request = urllib.request.Request("http://127.0.0.1:{TRACKING_PORT}/api/2.0/mlflow/" + path, body)
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", "Basic " + known)
    return json.load(urllib.request.urlopen(request))
found = ask("experiments/get-by-name?experiment_name=" + sys.argv[1])["experiment"]["experiment_id"]
print(json.dumps(ask("runs/search", experiment_ids=[found])["runs"]))
"""


@pytest.fixture(scope="module")
def harbour(ground: Ground) -> Iterator[Desk]:
    """A namespace with an S3 server that holds the data, an MLflow server with a password, and bases of two families."""
    with new_desk(ground) as made:
        made.data(DATA | MORE, name="rows")
        start_servers(made, ground.tests_image)
        made.bases()
        keys = KEYS | {"AWS_ENDPOINT_URL": servers.url(made, SERVERS, STORE_PORT)}
        servers.secret(made, "lake", keys)
        servers.secret(made, "stolen", keys | {"AWS_SECRET_ACCESS_KEY": "another"})
        servers.secret(made, "unknown", keys | {"AWS_ACCESS_KEY_ID": "nobody"})
        servers.secret(made, "teller", TELLER)
        servers.secret(made, "stranger", TELLER | {"password": "another"})
        servers.await_ready(made, SERVERS)
        yield made


def rows(of: Callable[[int], builders.Object]) -> str:
    """Return a .jsonl file of some rows."""
    return "".join(json.dumps(of(number)) + "\n" for number in range(20))


MORE = {
    "pairs.jsonl": rows(lambda number: {"input": f"parcel {number} is late", "target": "late"}),
    "words.jsonl": rows(
        lambda number: {"tokens": ["parcel", str(number), "late"], "tags": ["B-thing", "I-thing", "O"]}
    ),
    "matches.jsonl": rows(lambda number: {"query": f"where is {number}", "positive": f"parcel {number} is late"}),
}
# By task: of which family a base is, its data, and their columns.
TASKS = {
    "Summarization": ("EncoderDecoder", "pairs.jsonl", {"input": "input", "target": "target"}),
    "TokenClassification": ("Encoder", "words.jsonl", {"tokens": "tokens", "tags": "tags"}),
    "Embedding": ("Encoder", "matches.jsonl", {"query": "query", "positive": "positive"}),
    "Classification": ("Encoder", "train.csv", {"text": "text", "label": "label"}),
}


def start_servers(desk: Desk, image: str) -> None:
    """Start both servers, in one pod."""
    store = {
        "image": image,
        "command": ["sh", "-ec", STORE],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "rows", "mountPath": "/rows"}],
        "env": [
            {"name": "ROOT_ACCESS_KEY", "value": KEYS["AWS_ACCESS_KEY_ID"]},
            {"name": "ROOT_SECRET_KEY", "value": KEYS["AWS_SECRET_ACCESS_KEY"]},
        ],
        # More than the trainings beside them: who is told of a training in vain waits ten seconds at most.
        "resources": {"requests": {"cpu": "250m"}},
        "readinessProbe": {"exec": {"command": ["test", "-e", "/data/ready"]}},
    }
    tracking = {
        "name": "tracking",
        "command": ["sh", "-ec", TRACKING],
        "env": [
            {"name": "MLFLOW_DISABLE_TELEMETRY", "value": "true"},
            # Half a dozen processes, for what nobody asks of it here.
            {"name": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "value": "false"},
            {"name": "HOME", "value": "/data"},
            {"name": "TELLER", "value": TELLER["username"]},
            {"name": "MLFLOW_AUTH_CONFIG_PATH", "value": "/data/auth.ini"},
            {"name": "MLFLOW_AUTH_ADMIN_PASSWORD", "value": TELLER["password"]},
            {"name": "MLFLOW_FLASK_SERVER_SECRET_KEY", "value": "of-forms-that-nobody-fills-in"},
        ],
        "readinessProbe": {"httpGet": {"path": "/health", "port": TRACKING_PORT}},
    }
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "rows", "configMap": {"name": "rows"}}]
    servers.start(desk, SERVERS, [STORE_PORT, TRACKING_PORT], store, volumes, tracking)


def project(
    desk: Desk, name: str, keys: str = "lake", train: str = TRAIN, tracking: str = "", teller: str = "teller"
) -> builders.Object:
    """Return a project whose data and storage are in the object store, on an encoder."""
    spec = builders.project_spec()
    tracking = tracking or servers.url(desk, SERVERS, TRACKING_PORT)
    sets = [
        {"name": "train", "uri": train, "split": "Train"},
        {"name": "valid", "uri": "s3://lake/desk/valid.csv", "split": "Validation"},
    ]
    return builders.project(
        name,
        desk.namespace,
        problem=spec["problem"] | {"architecture": "Encoder"},
        data={"sets": sets},
        candidates=[{"name": "small", "model": {"uri": "pvc://models/bert"}, "license": "Apache-2.0"}],
        storage={"uri": f"s3://lake/{name}"},
        credentials=[
            {"match": "s3://", "secret": {"name": keys}},
            {"match": tracking, "secret": {"name": teller}},
        ],
        tracking={"mlflow": {"uri": tracking}},
    )


@pytest.fixture(scope="module")
def whole(harbour: Desk) -> builders.Object:
    """A run of the project `desk` that trained its encoder whole."""
    run = builders.run("whole", harbour.namespace, method={"type": "Full"}, resources=SMALL)
    harbour.apply(project(harbour, "desk"), run)
    run = harbour.awaits("ftr", "whole", "Succeeded", "Failed", seconds=LATE)
    assert run["status"]["phase"] == "Succeeded", harbour.ready("ftr", "whole")
    return run


def test_an_encoder_is_trained_whole_into_an_object_store_and_told_to_a_tracking_server(
    harbour: Desk, whole: builders.Object
) -> None:
    status = whole["status"]
    assert status["artifact"]["uri"].startswith("s3://lake/desk/artifacts/")
    [tracked] = [item for item in status["conditions"] if item["type"] == "Tracked"]
    assert tracked["status"] == "True", tracked["message"]
    command = ("exec", "-n", harbour.namespace, SERVERS, "-c", "tracking", "--", "python3", "-c", RUNS)
    [told] = json.loads(harbour.tools.kubectl(*command, f"{harbour.namespace}/desk"))
    tags = {item["key"]: item["value"] for item in told["data"]["tags"]}
    assert told["info"]["status"] == "FINISHED"
    assert tags["stagecoach.artifact"] == status["artifact"]["digest"]


def test_what_lies_in_an_object_store_is_imported(harbour: Desk, whole: builders.Object) -> None:
    artifact = whole["status"]["artifact"]
    method = {"type": "Import", "uri": artifact["uri"], "digest": artifact["digest"], "trainedOn": [{"name": "train"}]}
    run = builders.run("imported", harbour.namespace, method=method, resources=SMALL)
    del run["spec"]["data"], run["spec"]["hyperparameters"]
    harbour.apply(run)
    run = harbour.awaits("ftr", "imported", "Succeeded", "Failed", seconds=LATE)
    assert harbour.ready("ftr", "imported")["reason"] == "Imported"
    assert run["status"]["artifact"]["digest"] == artifact["digest"]


def of_task(desk: Desk, task: str, tracking: str, teller: str) -> builders.Object:
    """Return the project of a task, by the task's name in small letters."""
    architecture, file, columns = TASKS[task]
    made = project(desk, task.lower(), tracking=tracking, teller=teller)
    labels = {"labels": {"fromDataset": "train"}} if task.endswith("Classification") else {}
    made["spec"] |= {
        "problem": {"statement": "Something small.", "task": task, "architecture": architecture} | labels,
        "data": {"sets": [{"name": "train", "uri": f"s3://lake/desk/{file}", "split": "Train", "columns": columns}]},
    }
    if architecture == "EncoderDecoder":
        made["spec"]["candidates"][0]["model"] = {"uri": "pvc://models/t5"}
    return made


def not_told(desk: Desk) -> dict[str, tuple[str, str, str]]:
    """Return by task the URI and the Secret with which its training is told in vain, and what its run says of that."""
    address = desk.kube.get("Service", SERVERS)["spec"]["clusterIP"]
    there, away = (servers.url(desk, name, TRACKING_PORT) for name in (SERVERS, "nobody"))
    elsewhere, by_address = f"{there}/elsewhere", f"http://{address}:{TRACKING_PORT}"
    foreign = "it answers 404 to experiments/get-by-name. Let the URI be that of an MLflow"
    return {
        "Summarization": (elsewhere, "teller", foreign),
        "TokenClassification": (by_address, "teller", "Start the server with --allowed-hosts"),
        "Embedding": (away, "teller", "See that the server is up, and that pods may reach"),
        "Classification": (
            there,
            "stranger",
            "The server does not accept the username and password in Secret stranger",
        ),
    }


def test_models_of_other_tasks_are_trained_whoever_cannot_be_told(harbour: Desk) -> None:
    data, tracking = {"train": [{"name": "train"}]}, not_told(harbour)
    for task in TASKS:
        uri, teller, _ = tracking[task]
        run = builders.run(task.lower(), harbour.namespace, project=task.lower(), data=data, resources=SMALL)
        harbour.apply(of_task(harbour, task, uri, teller), run)
    for task in TASKS:
        run = harbour.awaits("ftr", task.lower(), "Succeeded", "Failed", seconds=LATE)
        assert run["status"]["phase"] == "Succeeded", harbour.ready("ftr", task.lower())
        uri, _, words = tracking[task]
        [tracked] = [item for item in run["status"]["conditions"] if item["type"] == "Tracked"]
        assert (tracked["status"], tracked["reason"]) == ("False", "TrackingFailed")
        assert tracked["message"].startswith(f"spec.tracking.mlflow.uri ({uri}): ")
        assert words in tracked["message"]


# By project: the Secret that it names, its training set, and the reason, field, value and remedy that it is told.
REFUSED = {
    "thief": ("stolen", TRAIN, "KeysRefused", "storage.uri (s3://lake/thief)", "Correct the keys in Secret stolen."),
    "guest": ("unknown", TRAIN, "KeysRefused", "storage.uri (s3://lake/guest)", "Correct the keys in Secret unknown."),
    "no-bucket": (
        *("lake", "s3://nowhere/train.csv", "BucketMissing"),
        *("data.sets[train].uri (s3://nowhere/train.csv)", "Create the bucket, or correct the URI."),
    ),
    "no-object": (
        *("lake", "s3://lake/desk/none.csv", "SourceMissing"),
        *("data.sets[train].uri (s3://lake/desk/none.csv)", "Correct the URI, or put the file there."),
    ),
}


def test_what_an_object_store_refuses_or_has_not_is_told(harbour: Desk) -> None:
    for name, (keys, train, *_) in REFUSED.items():
        harbour.apply(project(harbour, name, keys, train))
    for name, (*_, reason, where, remedy) in REFUSED.items():
        message = harbour.awaits_reason("txp", name, reason)
        assert message.startswith(f"{where}: ")
        assert remedy in message
