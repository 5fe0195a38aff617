"""`python -m windowshop_client.cli` is the `windowshop` command."""

from windowshop_client.cli import main

main(prog_name="windowshop")
