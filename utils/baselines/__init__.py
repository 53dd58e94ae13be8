"""What a model of images is measured against: principal components, and Gaussians."""

from utils.baselines.gaussians import (
    SHRINKAGES,
    ComponentGaussian,
    IndependentGaussian,
    ProbabilisticPCA,
    ShrunkGaussian,
)
from utils.baselines.pca import BlockPCA

__all__ = [
    "SHRINKAGES",
    "BlockPCA",
    "ComponentGaussian",
    "IndependentGaussian",
    "ProbabilisticPCA",
    "ShrunkGaussian",
]
