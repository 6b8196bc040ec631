"""Second ranking stage: the light multi-task network that cuts 150 candidates to 50."""
