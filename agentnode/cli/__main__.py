"""`python -m agentnode.cli`: the command line without its console script."""

from agentnode.cli import main

main()
