"""The settings of the rank service."""

from __future__ import annotations

from serving.config import Address, ServiceConfig


class RankConfig(ServiceConfig):
    """Nothing but what every service has; the model brings the rest."""

    listen: Address = "127.0.0.1:50053"
