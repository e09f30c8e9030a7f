"""python -m stagecoach_plugin."""

from stagecoach_plugin.app import main

main()
