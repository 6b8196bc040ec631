"""First ranking stage: the distilled student that cuts 500 candidates to 150."""
