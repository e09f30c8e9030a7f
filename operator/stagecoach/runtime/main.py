"""`stagecoach-operator`."""

import asyncio
import logging
import sys
from collections.abc import Sequence

from prometheus_client import disable_created_metrics

from stagecoach.kinds.controller import Controller
from stagecoach.runtime import logs, options
from stagecoach.runtime.connection import ConfigurationError, Connection
from stagecoach.runtime.process import Operator

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the operator with all its kinds."""
    chosen = options.parse(sys.argv[1:])
    # After the command line was read: --help need not wait for it.
    from stagecoach.kinds.registry import CONTROLLERS

    sys.exit(run(chosen, CONTROLLERS))


def run(chosen: options.Options, controllers: Sequence[Controller]) -> int:
    """Run these controllers until the process is told to stop; return its exit code."""
    logs.configure(chosen.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return asyncio.run(_run(chosen, controllers))


async def _run(chosen: options.Options, controllers: Sequence[Controller]) -> int:
    try:
        connection = await Connection.load()
    except ConfigurationError as error:
        logger.critical("%s. Run in a pod with a service account, or set KUBECONFIG.", error)
        return 1
    return await Operator(chosen, controllers, connection).run()


if __name__ == "__main__":
    main()
