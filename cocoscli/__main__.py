"""`python -m cocoscli`."""

from cocoscli.app import main

main()
