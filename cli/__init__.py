"""The `explore` command: the composition root of everything that is not a service."""
