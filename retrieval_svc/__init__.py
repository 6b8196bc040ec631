"""Sourcing: from everything that may be recommended to the candidates of one page."""
