"""The settings of the rerank service."""

from __future__ import annotations

from serving.config import Address, ServiceConfig


class RerankConfig(ServiceConfig):
    """Nothing but what every service has; the model brings the rest."""

    listen: Address = "127.0.0.1:50054"
