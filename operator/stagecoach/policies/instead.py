"""What to do where a release is not to be served: whoever makes releases makes another one."""


def instead(run: str | None) -> str:
    """Return what makes another release. `run`: the one that has made this; none has made a base itself."""
    if run:
        return "create another run"
    return "give the project another prompt, or name another candidate or a run"
