"""Helpers of the lessons; importing this package loads no Keras.

| module        | what it holds                                              |
|---------------|------------------------------------------------------------|
| `presets`     | how long a lesson runs: smoke, default or full             |
| `arguments`   | arguments, checked by all the others                       |
| `estimators`  | what estimators share: a fit that fails changes nothing    |
| `checks`      | `check` and `ledger`: every equation confirmed by a number |
| `plotting`    | one style, and the pictures that several lessons draw      |
| `datasets`    | MNIST and SVHN, downloaded, local or stand-in              |
| `standins`    | stand-ins for them, drawn on the spot                      |
| `entropy`     | distributions of largest entropy (lesson 1)                |
| `functionals` | the calculus of variations (lesson 2)                      |
| `mean_field`  | variational Bayes (lesson 3)                               |
| `vae`         | building blocks of variational autoencoders (lessons 4, 5) |
| `baselines`   | principal components, and Gaussians to beat (lesson 5)     |

What is drawn at random depends on `seed`; in the classes that keep to scikit-learn's
rules, on `random_state`.
"""
