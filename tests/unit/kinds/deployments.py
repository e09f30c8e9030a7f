"""A deployment with everything around it: gates, runs, an API server, a Deployment controller, loaders and gateways."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from stagecoach.build.labels import COMPONENT, ENGINE, ENGINE_NAME, GATEWAY
from stagecoach.contract import loading
from stagecoach.contract.digests import digest_of_document, hex_of
from stagecoach.contract.gateway_counts import SECONDS, Durations, GatewayCounts, ReleaseCounts
from stagecoach.contract.gateway_routes import Acknowledgement, Routes, verified
from stagecoach.contract.load_tests import LoadTestJob
from stagecoach.contract.loading import FRESH_SECONDS, Load, Loaded, LoadedModel, Serve, State, Wanted
from stagecoach.contract.schemas import BadSchema, validator
from stagecoach.contract.times import timestamp
from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.modeldeployment.reconcile import CONTROLLER
from stagecoach.kinds.plan import Call, Key, Object, Plan
from stagecoach.kinds.view import Answer
from stagecoach.policies.keys import Purpose, derive
from stagecoach.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES
from tests import builders
from tests.unit.kinds import spares
from tests.unit.kinds.gates import Hall, succeeded
from tests.unit.kinds.spares import NUMBERS, Numbers
from tests.unit.kinds.test_engine import served
from tests.unit.kinds.world import SETTINGS

UID = "0b7d7ab4-0000-4000-8000-000000000001"
SERVING = replace(
    SETTINGS,
    gateway_image="registry.example/gateway@sha256:" + "d" * 64,
    namespace="stagecoach-system",
    master_key=b"k" * 32,
)
RESOURCES = {each.kind: each for each in (DEPLOYMENTS, CONFIG_MAPS, SERVICES, PODS, JOBS)}
LABELS = ["billing", "delivery"]
QUOTA = "apply deployments: exceeded quota: engines (HTTP 403). Raise the quota, or meet the rule, that it names."


def project(**inference: Any) -> Object:
    """Return the project by vLLM, whose labels are those of its training data."""
    made = served()
    made["status"]["labels"] = {"count": len(LABELS), "digest": digest_of_document(LABELS), "first": LABELS}
    made["spec"]["inference"] |= inference
    return made


@dataclass
class Loader:
    """What stands beside an engine."""

    serve: Serve
    models: dict[str, State] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    asked: bool = False
    waiting: int | None = 0  # None: its engine does not say it
    running: int = 0

    def __post_init__(self) -> None:
        self.base = hex_of(self.serve.model or self.serve.base.model or "")
        self.models[self.base] = State.LOADING

    def answer(self, method: str, path: str, body: bytes, now: datetime) -> Answer:
        if (method, path) == ("GET", loading.LOAD_PATH):
            return self._load(now)
        assert (method, path) == ("PUT", loading.PATH)
        self.asked = True
        return self.put(body, now)

    def _load(self, now: datetime) -> Answer:
        if self.waiting is None:
            return Answer(503, b"the engine gave no answer: 500 no", now, b"")
        return Answer(200, Load(waiting=self.waiting, running=self.running).line().encode(), now, b"")

    def put(self, body: bytes, now: datetime) -> Answer:
        adapters = Wanted.model_validate_json(body).adapters
        self.wanted = tuple(map(hex_of, adapters))
        for name in self.wanted:
            self.models.setdefault(name, State.LOADING)
        told = Loaded(engine="0.32.0", models=tuple(self._told(name) for name in (self.base, *self.wanted)))
        return Answer(200, told.line().encode(), now, body)

    def _told(self, name: str) -> LoadedModel:
        state = self.models[name]
        failed = {"reason": "WrongDigest", "message": "Its files are others. Create another run."}
        more = failed if state is State.FAILED else {"age": FRESH_SECONDS} if state is State.ANSWERS else {}
        return LoadedModel.model_validate({"name": name, "state": state} | more)

    def turn(self, state: State) -> None:
        """Let what is being loaded come to this."""
        self.models = {name: state if before is State.LOADING else before for name, before in self.models.items()}

    @property
    def ready(self) -> bool:
        return self.models[self.base] is State.ANSWERS


@dataclass
class GatewayPod:
    """What clients ask."""

    key: bytes
    started: datetime
    tokenizers: frozenset[str]
    routes: Routes | None = None
    confirmed: bool = False
    counted: dict[str, list[int]] = field(default_factory=dict)  # by release: requests, errors
    deployment: str = UID

    def answer(self, method: str, path: str, body: bytes, now: datetime) -> Answer:
        return self.put(body, now) if method == "PUT" else self.get(path, now)

    def put(self, body: bytes, now: datetime) -> Answer:
        told = verified(body, self.key)
        known = self.routes
        if known is not None and told.revision <= known.revision and told != known:
            return Answer(409, b"not newer", now, body)
        if lacking := {target.described.asked.base.tokenizer for target in told.targets} - self.tokenizers:
            return Answer(422, f"{min(lacking)} is not there: mount the tokenizer there.".encode(), now, body)
        try:
            for schema in (told.input_schema, told.output_schema):
                validator(schema or {})
        except BadSchema as error:
            return Answer(422, str(error).encode(), now, body)
        self.routes, self.confirmed = told, True
        return Answer(200, self._acknowledgement(told).line().encode(), now, body)

    def get(self, path: str, now: datetime) -> Answer:
        if path == "/counts":
            return Answer(200, self._counts().line().encode(), now, b"")
        if self.routes is None:
            return Answer(404, b"nothing", now, b"")
        return Answer(200, self._acknowledgement(self.routes).line().encode(), now, b"")

    def ask(self, requests: int, now: datetime, *, failing: bool) -> None:
        """Let clients ask; the candidate's answers may fail."""
        if self.routes is None or self.routes.stable is None:
            return
        candidate = self.routes.candidate
        share = requests * candidate.share(now) // 100 if candidate else 0
        self._count(self.routes.stable.release, requests - share, 0)
        if candidate:
            self._count(candidate.target.release, share, share if failing else 0)

    def _count(self, release: str, requests: int, errors: int) -> None:
        before = self.counted.setdefault(release, [0, 0])
        before[0] += requests
        before[1] += errors

    def _acknowledgement(self, routes: Routes) -> Acknowledgement:
        return Acknowledgement(deployment=routes.deployment, revision=routes.revision, digest=routes.digest)

    def _counts(self) -> GatewayCounts:
        none = Durations(bins=(0,) * (len(SECONDS) + 1), total=0)
        rest: dict[str, Any] = dict.fromkeys(
            ("abandoned", "fallbacks", "prompt_tokens", "completion_tokens", "feedback"), 0
        )
        releases = tuple(
            ReleaseCounts(
                release=release,
                requests=requests,
                errors={"engine_error": errors} if errors else {},
                latency=none,
                first_token=none,
                **rest,
            )
            for release, (requests, errors) in sorted(self.counted.items())
        )
        revision = self.routes.revision if self.routes else 0
        return GatewayCounts(deployment=self.deployment, revision=revision, started=self.started, releases=releases)


def tokenizers(pod: Object) -> frozenset[str]:
    """Return those that are laid for a gateway with this spec, by digest."""
    [container] = pod["initContainers"]
    told = next(each["value"] for each in container["env"] if each["name"] == loading.TOKENIZERS_VARIABLE)
    return frozenset(each["tokenizer"] for each in json.loads(told.replace("$$", "$")))


class Stage(Hall):
    """All of it. Whoever is late sees an older version of the deployment; what watches bring of the rest is there."""

    def __init__(self, *objects: Object, **spec: Any) -> None:
        super().__init__(project(), *(objects or (succeeded(),)))
        self.settings = SERVING
        self.children: dict[tuple[str, str], Object] = {}
        self.loaders: dict[str, Loader] = {}
        self.doors: dict[str, GatewayPod] = {}
        self.silent: set[str] = set()  # uids of pods that answer nobody
        self.refuses: Callable[[Object], bool] = lambda _: False  # what the cluster does not take
        self.stuck: dict[str, Object] = {}  # Deployments whose newer pods do not start, and the status of these
        self.proof: bool | None = True  # whether everybody decides in their own name; None: the API server fails
        self.told: list[Routes] = []  # all that were ever signed
        self.reach: Numbers | None = NUMBERS  # what load tests measure; None: they go on
        self.tests: list[LoadTestJob] = []  # all that were ever begun
        self.numbers = itertools.count(1)
        self.key = derive(self.settings.master_key, UID, Purpose.ROUTES).encode()
        self.put(builders.stored(builders.deployment(**spec), uid=UID))
        self.versions = [builders.copied(self.deployment)]

    @property
    def deployment(self) -> Object:
        return self.get("ModelDeployment", "answers")

    @property
    def told_status(self) -> Object:
        result: Object = self.deployment.get("status", {})
        return result

    def said(self, kind: str = "Ready") -> Object:
        return next((each for each in self.told_status.get("conditions", []) if each["type"] == kind), {})

    def put(self, obj: Object) -> None:
        super().put(obj)
        if obj["kind"] == "ModelDeployment" and hasattr(self, "versions"):
            self.versions.append(builders.copied(self.deployment))

    # The operator.

    def serve(self, age: int = 0, writes: int = 99) -> Plan:
        """Reconcile a deployment of some versions ago, and carry out the first writes of the plan: then crash."""
        seen = builders.copied(self.versions[max(0, len(self.versions) - 1 - age)])
        plan = CONTROLLER.reconcile(self.cache, seen, self.now, self.settings)
        self._carry_out(seen, plan, writes)
        return plan

    def _carry_out(self, seen: Object, plan: Plan, writes: int) -> None:
        left = itertools.repeat(True, writes)
        if plan.status is not None and plan.status != seen.get("status", {}):
            if (
                not next(left, False)
                or seen["metadata"]["resourceVersion"] != self.deployment["metadata"]["resourceVersion"]
            ):
                return
            json.dumps(plan.status)
            self.put(self.deployment | {"status": builders.copied(plan.status)})
            self.events += [(event.reason, event.message) for event in plan.events]
        if self._made(plan, left):
            for call in plan.ask:
                if next(left, False):
                    self._asked(call)

    def _made(self, plan: Plan, left: Iterator[bool]) -> bool:
        """Delete, create and apply; return whether that went to its end, whatever the cluster refused."""
        for obj in plan.delete:
            if not next(left, False) or not self._deleted(obj):
                return False
        for obj in plan.create:
            if not next(left, False):
                return False
            if self._refused(obj):
                break
            self._created(obj)
        return self._all_applied(plan, left)

    def _all_applied(self, plan: Plan, left: Iterator[bool]) -> bool:
        unprotected = False
        for obj in plan.apply:
            if unprotected and obj["kind"] == "Deployment":
                continue
            if not next(left, False):
                return False
            if self._refused(obj):
                unprotected |= obj["kind"] == "NetworkPolicy"
            elif not self._applied(obj):
                return False
        return True

    def _refused(self, obj: Object) -> bool:
        refused = self.refuses(obj)
        self.cache.set_refusal(UID, obj, QUOTA if refused else None)
        return refused

    def _deleted(self, obj: Object) -> bool:
        at = obj["kind"], obj["metadata"]["name"]
        found = self.children.get(at)
        if found is not None and found["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
            self._gone(at)
            return True
        return found is None

    def _created(self, obj: Object) -> None:
        if (obj["kind"], obj["metadata"]["name"]) not in self.children:
            self._store(builders.copied(obj))

    def _applied(self, obj: Object) -> bool:
        found = self.children.get((obj["kind"], obj["metadata"]["name"]))
        given = obj["metadata"].get("resourceVersion")
        if given is not None and (found is None or found["metadata"]["resourceVersion"] != given):
            return False
        made = builders.copied(obj)
        if found is not None:
            made["metadata"] |= {name: found["metadata"][name] for name in ("uid", "creationTimestamp")}
            made["metadata"]["generation"] = found["metadata"]["generation"] + 1
            made["status"] = found.get("status", {})
        self._store(made)
        self.cache.set_applied(made)
        return True

    def _asked(self, call: Call) -> None:
        uid = call.pod_uid
        if uid in self.silent or (uid not in self.loaders and uid not in self.doors):
            answer = Answer(0, b"it does not answer", self.now, call.body)
        elif uid in self.loaders:
            assert call.port == loading.PORT
            answer = self.loaders[uid].answer(call.method, call.path, call.body, self.now)
        else:
            answer = self.doors[uid].answer(call.method, call.path, call.body, self.now)
            self.told += [verified(call.body, self.key)] if call.method == "PUT" else []
        self.cache.set_answer(call, answer)

    # People.

    def say(self, decision: str, release: str, name: str = "", **changes: Any) -> Object:
        """Let somebody decide on a release; what the operator makes of it is told by `weigh`."""
        name = name or f"{decision.lower()}-{next(self.numbers)}"
        spec: Object = {
            "subject": {"kind": "ModelDeployment", "name": "answers"},
            "release": release,
            "decision": decision,
            "reason": "I have seen it.",
        }
        if decision == "Override":
            spec["expires"] = timestamp(self.now + timedelta(hours=24))
        made = builders.stored(builders.approval(name, **spec | changes), uid=f"uid-{name}")
        made["metadata"]["creationTimestamp"] = timestamp(self.now)
        self.put(made)
        return made

    def weigh(self) -> None:
        """Let the operator look at all decisions."""
        for key in [key for key in self.objects if key.kind == "Approval"]:
            for _ in range(2):
                raw = self.objects[key]
                plan = APPROVALS.reconcile(self.cache, raw, self.now, self.settings)
                if plan.status is not None and plan.status != raw.get("status", {}):
                    self.put(raw | {"status": builders.copied(plan.status)})
                if plan.prove and self.proof is not None:
                    self.cache.set_guarded("team", self.proof)

    def decided(self, decision: str, release: str, **changes: Any) -> Object:
        """Let somebody decide, and the operator look at it; return what it says of that."""
        name = self.say(decision, release, **changes)["metadata"]["name"]
        self.weigh()
        return self.word(name)

    def word(self, name: str) -> Object:
        """Return the condition Ready of a decision."""
        conditions = self.get("Approval", name)["status"]["conditions"]
        return next(each for each in conditions if each["type"] == "Ready")

    # Everybody else.

    def _store(self, obj: Object) -> None:
        self.version += 1
        metadata = obj["metadata"]
        metadata.setdefault("uid", f"{obj['kind']}-{metadata['name']}-{self.version}")
        metadata.setdefault("creationTimestamp", timestamp(self.now))
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(self.version)
        self.children[obj["kind"], metadata["name"]] = obj
        if obj["kind"] == "ConfigMap" and metadata["name"].endswith("-routes"):
            self.told.append(verified(obj["data"]["routes.json"], self.key))
        if obj["kind"] in RESOURCES:
            self.cache.store_child(RESOURCES[obj["kind"]], builders.copied(obj))

    def _gone(self, at: tuple[str, str]) -> None:
        obj = self.children.pop(at)
        if obj["kind"] in RESOURCES:
            self.cache.remove_child(RESOURCES[obj["kind"]], obj)
        self.loaders.pop(obj["metadata"]["uid"], None)
        self.doors.pop(obj["metadata"]["uid"], None)

    def of_kind(self, kind: str) -> list[Object]:
        return [obj for (found, _), obj in sorted(self.children.items()) if found == kind]

    def pods(self, engine: str | None = None) -> list[Object]:
        """Return the pods of an engine, or those of gateways."""
        wanted = {ENGINE_NAME: engine} if engine else {COMPONENT: GATEWAY}
        return [pod for pod in self.of_kind("Pod") if wanted.items() <= pod["metadata"]["labels"].items()]

    def control(self) -> None:
        """Play the controller of Deployments, and the kubelet: pods are there at once, and start."""
        spares.control(self)
        wanted = {each["metadata"]["name"]: each for each in self.of_kind("Deployment")}
        for pod in self._serving_pods():
            owner = wanted.get(pod["owner"])
            new = owner is not None and pod["template"] == owner["spec"]["template"] and self._runs(pod)
            if owner is None or not (new or pod["owner"] in self.stuck):
                self._gone(("Pod", pod["metadata"]["name"]))
        for name, each in wanted.items():
            pods = [pod for pod in self._serving_pods() if pod["owner"] == name]
            if name in self.stuck and pods:
                self._try_newer(name, pods)
                continue
            for pod in pods[each["spec"]["replicas"] :]:
                self._gone(("Pod", pod["metadata"]["name"]))
            for _ in range(each["spec"]["replicas"] - len(pods)):
                self._start(name, each["spec"]["template"])
            self._tell(name)
        for pod in self._serving_pods():
            self._make_ready(pod)

    def _serving_pods(self) -> list[Object]:
        return [pod for pod in self.of_kind("Pod") if COMPONENT in pod["metadata"]["labels"]]

    def _try_newer(self, name: str, pods: list[Object]) -> None:
        """Leave what runs as it is, beside a pod of the newest template that does not start, if that is another."""
        found = self.children["Deployment", name]
        template, generation = found["spec"]["template"], found["metadata"]["generation"]
        if all(pod["template"] != template for pod in pods):
            self._start(name, template)
            tried = next(pod for pod in self._serving_pods() if pod["owner"] == name and pod["template"] == template)
            self._store(tried | {"status": self.stuck[name]})
            del self.doors[tried["metadata"]["uid"]]
        updated = sum(pod["template"] == template for pod in self._serving_pods() if pod["owner"] == name)
        replicas = sum(pod["owner"] == name for pod in self._serving_pods())
        status = {"replicas": replicas, "updatedReplicas": updated, "observedGeneration": generation}
        status = found.get("status", {}) | status
        if found.get("status") != status:
            self._store(found | {"status": status})

    def _runs(self, pod: Object) -> bool:
        return pod["metadata"]["uid"] in self.loaders.keys() | self.doors.keys()

    def _start(self, owner: str, template: Object) -> None:
        name = f"{owner}-{next(self.numbers)}"
        metadata = {"name": name, "namespace": "team", "labels": builders.copied(template["metadata"]["labels"])}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "owner": owner,
            "template": builders.copied(template),
        }
        self._store(pod | {"status": {"phase": "Running", "podIP": f"10.0.0.{len(self.children) % 250 + 1}"}})
        uid = self.children["Pod", name]["metadata"]["uid"]
        if metadata["labels"][COMPONENT] == ENGINE:
            [loader] = template["spec"]["initContainers"]
            told = next(each["value"] for each in loader["env"] if each["name"] == loading.ENVIRONMENT_VARIABLE)
            self.loaders[uid] = Loader(Serve.model_validate_json(told.replace("$$", "$")))
        else:
            found = self.children.get(("ConfigMap", "answers-routes"))
            routes = verified(found["data"]["routes.json"], self.key) if found else None
            self.doors[uid] = GatewayPod(self.key, self.now, tokenizers(template["spec"]), routes)

    def _tell(self, name: str) -> None:
        found = self.children["Deployment", name]
        replicas, generation = found["spec"]["replicas"], found["metadata"]["generation"]
        status = {"replicas": replicas, "updatedReplicas": replicas, "observedGeneration": generation}
        if found.get("status") != status:
            self._store(found | {"status": status})

    def _make_ready(self, pod: Object) -> None:
        if not self._runs(pod):
            return
        uid = pod["metadata"]["uid"]
        ready = self.loaders[uid].ready if uid in self.loaders else self.doors[uid].confirmed
        before: Object = next(iter(pod["status"].get("conditions", ())), {})
        if before.get("status") != str(ready):
            told = [{"type": "Ready", "status": str(ready), "lastTransitionTime": timestamp(self.now)}]
            self._store(pod | {"status": pod["status"] | {"conditions": told}})

    def turn(self, state: State = State.ANSWERS) -> None:
        """Let whatever loads come to this."""
        for loader in self.loaders.values():
            loader.turn(state)

    def ask(self, requests: int = 100, *, failing: bool = False) -> None:
        """Let clients ask every gateway."""
        for door in self.doors.values():
            door.ask(requests, self.now, failing=failing)

    def restart(self, uid: str) -> None:
        """Let a gateway begin anew, in its pod: it has what its ConfigMap had, and has counted nothing."""
        found = self.children.get(("ConfigMap", "answers-routes"))
        routes = verified(found["data"]["routes.json"], self.key) if found else None
        self.doors[uid] = GatewayPod(self.key, self.now, self.doors[uid].tokenizers, routes)

    def forget(self) -> None:
        """Let another process lead: nobody has told it anything yet."""
        self.cache._answers.clear()

    def lose(self, name: str) -> None:
        self._gone(("Pod", name))

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # What tests do with it.

    def judge(self, verdict: str = "Passed") -> None:
        """Let the gate judge what it has not judged yet; nothing passes that should be compared, and cannot be.

        What fails beside something else is worse than that, and good by itself.
        """
        self.look()
        for each in self.evaluations:
            if "verdict" in each.get("status", {}):
                continue
            wanting = [item["name"] for item in each["spec"]["criteria"] if item.get("whenAbsent") == "Fail"]
            if verdict == "Passed" and wanting and "incumbent" not in each["spec"]:
                self.fail(each["metadata"]["name"], {"criterion": wanting[0], "outcome": "Failed"})
            elif verdict == "Failed" and "incumbent" in each["spec"]:
                compared = [item["name"] for item in each["spec"]["criteria"] if item.get("against") == "Incumbent"]
                self.fail(each["metadata"]["name"], {"criterion": compared[0], "outcome": "Failed"})
            else:
                self.decide(each["metadata"]["name"], verdict)
        self.look()

    def go_on(self, seconds: float = 2, *, loads: bool = True) -> None:
        """Let everybody do what is theirs, once."""
        self.serve()
        self.control()
        spares.end(self)
        if loads:
            self.turn()
        self.control()
        self.wait(seconds)

    def until(self, holds: Callable[[], Any], seconds: float = 2, rounds: int = 60, **changes: Any) -> None:
        """Go on until this holds."""
        for _ in range(rounds):
            if holds():
                return
            self.go_on(seconds, **changes)
        raise AssertionError(f"it does not come to that: {json.dumps(self.told_status, indent=1)}")

    @property
    def phase(self) -> str:
        return str(self.told_status.get("phase", ""))

    def serves(self, run: str) -> bool:
        """Whether a run has all requests, and is well."""
        return self.told_status.get("serving", {}).get("run") == run and self.phase == "Available"

    def routes(self) -> Iterator[Routes]:
        """Yield what each gateway has."""
        yield from (door.routes for door in self.doors.values() if door.routes)


def key() -> Key:
    """Return the deployment's key."""
    return Key("ModelDeployment", "team", "answers")


def serving(*objects: Object, **spec: Any) -> Stage:
    """Return a stage whose first run is served."""
    stage = Stage(*objects, **spec)
    stage.judge()
    stage.until(lambda: stage.serves("first"))
    return stage
