"""Speed and silence, and nothing else: without this folder all works, but slower.

| module    | what it does                                                          |
|-----------|-----------------------------------------------------------------------|
| `process` | changes this process: no greeting of TensorFlow, memory that is kept  |
| `random`  | random numbers that a compiler can fuse with what uses them           |
| `loop`    | on TensorFlow, trains on blocks of minibatches, without Python between |

Only `utils.vae.speed` knows whether it is there.
"""

from . import process  # noqa: F401 (before anything else imports Keras)
from .loop import device_loop, hears_minibatches
from .random import normal, uniform

__all__ = ["device_loop", "hears_minibatches", "normal", "uniform"]
