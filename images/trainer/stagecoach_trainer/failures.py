"""How work ends without a result when neither the input nor a service is at fault."""

from stagecoach.contract.reports import Problem


class WorkFailed(Exception):
    """The work failed for a known reason; the problem says what to try."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem
