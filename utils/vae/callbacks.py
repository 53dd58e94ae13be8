"""Callbacks for training a VAE."""

import keras

from ..arguments import integer, real


class KLWarmUp(keras.callbacks.Callback):
    """Raise the weight of the KL term over the first epochs to that of the model.

    In epoch e it is the model's `beta` times ``start + (1 - start) * share``,
    where share is e / `epochs`, at most 1. When training ends, or is cut short, the
    model's own weight counts again. What is reported is the bound itself, at weight 1,
    throughout.

    Parameters
    ----------
    epochs : int
        The epoch, counted from 0, from which the weight is the model's.
    start : float
        Share of the model's weight in the first epoch.

    Raises
    ------
    ValueError
        If `epochs` is not a positive integer, or `start` leaves [0, 1].

    Notes
    -----
    Source: Bowman et al. (2016), section 3.1; Sønderby et al. (2016), section 2.2.
    """

    def __init__(self, epochs, start=0.0):
        super().__init__()
        self.epochs = integer("epochs", epochs)
        self.start = real("start", start, least=0, most=1)

    def on_epoch_begin(self, epoch, logs=None):
        share = min(1.0, epoch / self.epochs)
        # `VAE.fit` sets it back to 1, whatever ends the training.
        self.model.kl_share.assign(self.start + (1 - self.start) * share)
