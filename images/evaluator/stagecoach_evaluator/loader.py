"""Stands beside a serving engine: `python3 -m stagecoach_evaluator.loader`.

It brings the model that the engine is started with, and adapters whenever they are wanted, and asks the engine for an
answer of each: by that, and not by files, it says what is served.
"""

import os
from pathlib import Path

from aiohttp import web

from stagecoach.contract import loading, mounts, serving
from stagecoach.contract.digests import Digest
from stagecoach.contract.loading import Serve
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_evaluator import loader_routes, programs
from stagecoach_evaluator.engine import Client
from stagecoach_evaluator.loader_http import application
from stagecoach_evaluator.loader_serving import Serving
from stagecoach_trainer import places
from stagecoach_trainer.train import say

# What is shorter may be guessed.
MIN_KEY = 32


def serve() -> None:
    """Serve until asked to stop. Raises BadInput for what it cannot begin with."""
    document = programs.document(loading.ENVIRONMENT_VARIABLE, Serve.model_validate_json)
    for name in (loading.TOKEN_FILE, loading.ENGINE_KEY_FILE, loading.ROUTES_KEY_FILE):
        _key(name)
    see = f"See kubectl logs {os.environ.get('HOSTNAME', 'POD')} -c {serving.CONTAINER}."
    models = Serving(document, _client, _routed, see)
    models.begin()
    say(f"listening on {loading.PORT}")
    # Requests to stop are answered at once (programs): nothing that is begun here has to be ended.
    web.run_app(
        application(models, lambda: _key(loading.TOKEN_FILE)),
        port=loading.PORT,
        print=None,
        access_log=None,
        handle_signals=False,
    )


def _client(seconds: float) -> Client:
    return Client(serving.PORT, seconds, _key(loading.ENGINE_KEY_FILE).decode())


def _routed() -> tuple[Digest, ...]:
    return loader_routes.adapters(os.environ[loading.URL_VARIABLE], _key(loading.ROUTES_KEY_FILE))


def _key(name: str) -> bytes:
    """Return a key as it is now: a Secret may be renewed while the pod runs. Raises BadInput where there is none."""
    try:
        key = (Path(places.rebased(mounts.KEYS)) / name).read_bytes().strip()
    except FileNotFoundError:
        key = b""
    if len(key) < MIN_KEY:
        message = f"{mounts.KEYS}/{name} has to hold a key of at least {MIN_KEY} characters."
        remedy = "Delete the deployment's Secret of keys: the operator writes it anew."
        raise BadInput(Problem.of("KeyMissing", message, remedy=remedy))
    return key


if __name__ == "__main__":
    programs.main(serve)
