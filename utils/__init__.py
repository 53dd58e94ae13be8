"""Helpers of the lessons; importing this package loads no Keras.

| module     | what it holds                                             |
|------------|-----------------------------------------------------------|
| `presets`  | how long a lesson runs: smoke, default or full            |
| `checks`   | `check` and `ledger`: every equation confirmed by a number |
| `plotting` | one style, and the pictures that several lessons draw     |
| `datasets` | MNIST and SVHN, downloaded, local or stand-in             |
| `vae`      | building blocks of variational autoencoders (lessons 4, 5) |
"""

import os

# TensorFlow greets on stderr at import, which a notebook would keep for ever.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
