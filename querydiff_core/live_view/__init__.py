"""A local page that shows frames and their labels while a command makes them."""
