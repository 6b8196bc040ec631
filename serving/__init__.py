"""The runtime that the five services share: bootstrap, config, wire format, errors, telemetry. Holds no ML and no torch."""
