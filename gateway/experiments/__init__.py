"""Experiments: a file puts shares of the users on other settings (docs/experiments.md).

settings     what an arm may change            layers      who gets which arm, by hashes of user ids
yaml_text    a YAML text with its places       file        the text as experiments, or every problem of it
terms        what a bundle can serve of it     choice      a request's pipeline and policy
"""
