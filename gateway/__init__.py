"""The gateway: the only service that knows the order of the stages."""
