"""One module per subcommand of the `querydiff` command."""
