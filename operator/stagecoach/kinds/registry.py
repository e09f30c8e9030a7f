"""All kinds that the operator runs."""

from stagecoach.kinds.approval import reconcile as approval
from stagecoach.kinds.controller import Controller
from stagecoach.kinds.evalgate import reconcile as evalgate
from stagecoach.kinds.evaluation import reconcile as evaluation
from stagecoach.kinds.finetunerun import reconcile as finetunerun
from stagecoach.kinds.modeldeployment import reconcile as modeldeployment
from stagecoach.kinds.transformerproject import reconcile as transformerproject

CONTROLLERS: tuple[Controller, ...] = (
    transformerproject.CONTROLLER,
    finetunerun.CONTROLLER,
    evalgate.CONTROLLER,
    evaluation.CONTROLLER,
    approval.CONTROLLER,
    modeldeployment.CONTROLLER,
)
