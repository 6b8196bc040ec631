"""A synthetic log with known ground truth: topics, accounts, tastes that drift, position bias and spam."""

from training.datasets.simulate.behaviour import examination_probability
from training.datasets.simulate.config import SimulationConfig, default, tiny
from training.datasets.simulate.run import simulate
from training.datasets.simulate.world import World

__all__ = ["SimulationConfig", "World", "default", "examination_probability", "simulate", "tiny"]
