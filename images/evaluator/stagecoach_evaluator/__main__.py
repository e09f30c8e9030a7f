"""The command line. In a Job it is started without arguments and does what STAGECOACH_JOB says."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, GRACE_SECONDS
from stagecoach_trainer import parent

COMMAND = (sys.executable, "-m", "stagecoach_evaluator.work")
EPILOG = f"""\
The document is read from the environment variable {ENVIRONMENT_VARIABLE}, the verdict is in the termination log. Exit
codes: 0 there is a verdict, whatever it is, 64 the input is wrong, 69 storage or another service failed, 70 anything
else.
"""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command and return its exit code."""
    _parser().parse_args(arguments)
    return parent.run(environment, COMMAND, grace=GRACE_SECONDS["Evaluate"] - parent.LAST_WORD_SECONDS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stagecoach-evaluator",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    text = "ask a release, and what it is compared with, every row of the suites; judge the answers; keep the evidence"
    commands.add_parser("evaluate", help=text, description=text, epilog=EPILOG)
    return parser


if __name__ == "__main__":
    sys.exit(main())
