"""Everything that training publishes for sourcing: indexes, neighbours, co-occurrence, trends and the graph of accounts.

`write_sourcing` writes the files that `bundles.layout` names; each other module makes one of them out of the log and the vectors.
"""

from __future__ import annotations

from training.sourcing.config import CoOccurrenceConfig, GraphConfig, IndexConfig, SourcingConfig
from training.sourcing.write import SourcingQuality, write_sourcing

__all__ = [
    "CoOccurrenceConfig",
    "GraphConfig",
    "IndexConfig",
    "SourcingConfig",
    "SourcingQuality",
    "write_sourcing",
]
