"""The command line. In a Job it is started without arguments and does what STAGECOACH_JOB says."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, GRACE_SECONDS
from stagecoach_trainer import parent, quiet

JOB_COMMANDS = {
    "resolve": "hash data sets and candidates, check every row, report digests and findings",
    "lookup": "look whether the storage holds a record of these inputs",
    "train": "train, publish the artifact and the record",
    "import": "check an adapter or a model that was made elsewhere, publish it and the record",
    "retain": "announce and remove artifacts that nobody needs any more",
}
EPILOG = f"""\
resolve, lookup, train, import and retain read their document from the environment variable {ENVIRONMENT_VARIABLE},
and answer in the termination log; without a command the document's kind decides. Exit codes: 0 done, 64 the input is
wrong, 69 storage or another service failed, 75 asked to stop and saved a checkpoint, 70 anything else.
"""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "compare":
        quiet.leave_out_quantization()  # no base is measured in 4 bits
        from stagecoach_trainer.compare import main as compare

        return compare(options)
    kind = _kind(environment)
    if options.command and kind and kind.lower() != options.command:
        print(f"{ENVIRONMENT_VARIABLE} holds a {kind} document; the command is {options.command}", file=sys.stderr)
        return 64
    return parent.run(environment, grace=GRACE_SECONDS.get(kind or "", 30) - parent.LAST_WORD_SECONDS)


def _kind(environment: Mapping[str, str]) -> str | None:
    try:
        return str(json.loads(environment[ENVIRONMENT_VARIABLE])["kind"])
    except (KeyError, TypeError, ValueError):
        return None  # the work itself says what is wrong with the document


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stagecoach-trainer",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, text in JOB_COMMANDS.items():
        commands.add_parser(name, help=text, description=text, epilog=EPILOG)
    text = "measure a base model against what was trained from it, both with the same prompt"
    compare = commands.add_parser("compare", help=text, description=text)
    compare.add_argument("--inputs", required=True, metavar="DIGEST", help="inputs digest of the run")
    compare.add_argument("--artifact", metavar="DIGEST", help="of several runs with them; default: the newest run's")
    compare.add_argument("--data", metavar="PATH-OR-URI", help="a file of rows; default: the validation sets")
    compare.add_argument(
        "--columns",
        metavar="JSON",
        help='which of its columns hold what: {"text": "…", "label": "…"}; default: as in the data of the run',
    )
    compare.add_argument("--base", metavar="FOLDER", help="the base model; default: where the record says it lies")
    compare.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    compare.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows at a time (default: 16)")
    compare.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: as the run had")
    compare.add_argument("--json", metavar="FILE", help="write the numbers here as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
