"""`python -m querydiff_core` is the `querydiff` command."""

from querydiff_core.cli.main import main

main()
