"""Data sets under one contract: read, checked, written whole; imported from KuaiRand or simulated."""

from training.datasets.load import Dataset, checked, load
from training.datasets.write import write

__all__ = ["Dataset", "checked", "load", "write"]
