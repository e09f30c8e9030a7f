"""Generate the CustomResourceDefinitions from the models: `python -m stagecoach.api.crds [--check] FOLDER...`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stagecoach.api import (
    approval,
    deployment_rules,
    evalgate,
    evaluation,
    finetunerun,
    modeldeployment,
    transformerproject,
)
from stagecoach.api.common import MAX_NAME, CustomObject, name_rule, rules

GROUP = "stagecoach.dev"
VERSION = "v1alpha1"
CATEGORY = "stagecoach"
AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
# What the API server shows of an object that nobody has looked at yet: kstatus takes one that says nothing for current.
UNSEEN = {"observedGeneration": -1}
# By what kubectl scale and autoscalers set, and find, the pods of a kind that has any.
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


@dataclass(frozen=True)
class Kind:
    """The names of a kind, and its model."""

    model: type[CustomObject]
    plural: str
    short_name: str
    columns: list[dict[str, Any]]
    max_name: int = MAX_NAME
    made: str = "Jobs and pods"  # what has names that begin with the object's
    rules: tuple[dict[str, Any], ...] = ()  # of the object as a whole
    scales: bool = False


KINDS = (
    Kind(transformerproject.TransformerProject, "transformerprojects", "txp", transformerproject.COLUMNS),
    Kind(finetunerun.FineTuneRun, "finetuneruns", "ftr", finetunerun.COLUMNS),
    Kind(evalgate.EvalGate, "evalgates", "egate", evalgate.COLUMNS, max_name=evalgate.MAX_GATE_NAME),
    Kind(evaluation.Evaluation, "evaluations", "eval", evaluation.COLUMNS, rules=evaluation.RULES),
    Kind(approval.Approval, "approvals", "appr", approval.COLUMNS, max_name=approval.MAX_APPROVAL_NAME),
    Kind(
        modeldeployment.ModelDeployment,
        "modeldeployments",
        "mdep",
        modeldeployment.COLUMNS,
        made="Services and pods",
        rules=deployment_rules.RULES,
        scales=True,
    ),
)


class _Dumper(yaml.SafeDumper):
    """Writes every part out: anchors are hard to read and some tools refuse them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    name = kind.model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "singular": name.lower(),
                "plural": kind.plural,
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema(kind)},
                    "subresources": {"status": {}} | ({"scale": SCALE} if kind.scales else {}),
                    "additionalPrinterColumns": [*kind.columns, AGE],
                }
            ],
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = kind.model.model_json_schema(include_defaults=True)  # type: ignore[no-untyped-call]
    properties = schema["properties"]
    return {
        "type": "object",
        "description": kind.model.__doc__,
        "required": ["spec"],
        "properties": {
            "spec": _structural(properties["spec"]),
            # Nobody but the operator writes status, so its fields need no defaults.
            "status": _structural(properties["status"], drop=("nullable", "default")) | {"default": UNSEEN},
        },
    } | rules(name_rule(kind.max_name, kind.made), *kind.rules)


def _structural(part: dict[str, Any], drop: tuple[str, ...] = ("nullable",)) -> dict[str, Any]:
    """Return a schema as Kubernetes takes it, without these keys: absent is the only way to be null."""
    result = {key: value for key, value in part.items() if key not in drop}
    if result.get("default", "") is None:
        del result["default"]
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _structural(result[key], drop)
    if "properties" in result:
        result["properties"] = {name: _structural(value, drop) for name, value in result["properties"].items()}
    return result


def main(arguments: list[str]) -> int:
    """Write the definitions into each folder, one file a kind; with --check only say what is out of date."""
    folders = [Path(argument) for argument in arguments if argument != "--check"]
    stale = {path: text for folder in folders for path, text in files(folder) if not _same(path, text)}
    if "--check" not in arguments:
        for path, text in stale.items():
            path.write_text(text, encoding="utf-8")
    elif stale:
        print(f"out of date: {', '.join(map(str, stale))}; run `make generate`", file=sys.stderr)
        return 1
    return 0


def files(folder: Path) -> list[tuple[Path, str]]:
    """Return what a folder of definitions has to hold."""
    return [
        (
            folder / f"{kind.plural}.yaml",
            yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120),
        )
        for kind in KINDS
    ]


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
