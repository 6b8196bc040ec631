"""Load on a running stack, through its public API alone: what README.md shows. Also the example of a gRPC client of Explore.

locustfile   what locust runs                     traffic, traffic.yaml   who arrives, and for what
journeys     what visitors do, request by request  page_check              what is wrong with a page
client       the API, measured                     shapes, saturation      how many arrive, and when
access       TLS, certificates and API keys        slo                     whether that was good enough
"""
