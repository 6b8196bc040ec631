"""What a good client leaves to gRPC: asking again in time, elsewhere if there is another gateway. docs/faults.md says why."""

from __future__ import annotations

import json

# GetFeed has no effect that a second call would double, and events are known by their event_id. A gateway that refuses a call says
# when there will be room (grpc-retry-pushback-ms), which gRPC then waits for instead of the backoff; or that there will be none.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": "explore.v1.ExploreService"}, {"service": "explore.v1.FeedbackService"}],
                "retryPolicy": {
                    "maxAttempts": 5,  # the most that gRPC takes
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ],
    }
)
# Longer than a page should take, which an SLO judges: who waits this long gets over a burst that a refusal asks to wait out.
PATIENCE_S = 3.0
CLIENT_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # else a gateway that was away for seconds is not tried again for as long
]
