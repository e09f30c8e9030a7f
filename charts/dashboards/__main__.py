"""Write the dashboards, or check what is written: `python -m charts.dashboards [--check] FOLDER`."""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from charts.dashboards import serving

DASHBOARDS = {"serving.json": serving.dashboard}


def main(arguments: list[str]) -> int:
    """Write, or with --check return 1 when something else is written."""
    check = arguments[:1] == ["--check"]
    (folder,) = arguments[check:]
    stale = []
    for name, dashboard in DASHBOARDS.items():
        file, text = Path(folder) / name, JSONEncoder(indent=1, sort_keys=True).encode(dashboard()) + "\n"
        if not check:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(file)
    for file in stale:
        print(f"{file} is not what charts/dashboards makes: run make generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
