"""IGQL: sources as short, typed, statically checked programs (README.md of retrieval_svc shows the language).

text ─► syntax (tree) ─► check (typed plan, or an error with line and caret) ─► optimise ─► execute (columns of all users)
"""
