"""What a training is made of, beside the network: optimizers, schedules, losses, regularizers, and the order of images.

The stacked engine and the plain reference both read these catalogues; a new entry works in both.
"""

from initbench.recipe.losses import LOSSES
from initbench.recipe.optimizers import OPTIMIZERS
from initbench.recipe.regularizers import REGULARIZERS
from initbench.recipe.schedules import SCHEDULES

__all__ = ["LOSSES", "OPTIMIZERS", "REGULARIZERS", "SCHEDULES"]
