"""Third ranking stage: the deep multi-task network that scores the last 50 candidates."""
