"""The child process: comes to the verdict that the document asks for, and leaves a Report in a file."""

import os
import sys

from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.reports import Outcome, Report
from stagecoach_trainer import authorities, child, places, quiet


def perform() -> Report:
    """Do the work and say how it ended, whatever happens."""
    return child.reported(_evaluated)


def _evaluated() -> Report:
    job = child.document(_read, "evaluator")
    quiet.prepare(job.threads)
    quiet.leave_out_quantization()  # an adapter that was trained beside a quantized base is for the base as it is
    authorities.trust()
    from stagecoach_evaluator import canaries
    from stagecoach_evaluator.evaluate import evaluate

    found = evaluate(job)
    return Report(outcome=Outcome.DONE, evaluation=canaries.told(job, places.storage(), found))


def _read() -> EvaluateJob:
    return EvaluateJob.model_validate_json(os.environ[ENVIRONMENT_VARIABLE])


if __name__ == "__main__":
    sys.exit(child.main(_evaluated))
