"""`python -m initbench`."""

from initbench.cli import main

main(prog_name="initbench")
