"""One module per verb of the `querydiff` command."""
