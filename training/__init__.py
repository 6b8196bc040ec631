"""Training: data sets, models, losses, calibration and export. Writes bundles, and never serves."""
