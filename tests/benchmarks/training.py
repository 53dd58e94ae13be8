"""Training that may be stopped, and goes on where it stood; with its own clock."""

import json
import time

import keras
from tqdm import tqdm


def real(dataset):
    """Return a data set, unless it is a stand-in."""
    if dataset.notice:
        raise SystemExit(f"real data are needed: {dataset.notice}")
    return dataset


class Clock(keras.callbacks.Callback):
    """Count the seconds of training, over interruptions, and show its progress."""

    def __init__(self, file, epochs, title):
        super().__init__()
        self.file = file
        self.before = json.loads(file.read_text()) if file.exists() else 0.0
        self.bar = tqdm(total=epochs, desc=title, unit="epoch")

    def on_train_begin(self, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self.before + time.perf_counter() - self.begin
        self.file.write_text(json.dumps(seconds))
        self.bar.update(epoch + 1 - self.bar.n)
        self.bar.set_postfix(loss=f"{logs['loss']:.2f}")

    def on_train_end(self, logs=None):
        self.bar.close()


def train(model, images, folder, settings, title):
    """Train a compiled model, unless that is done; return the seconds it took.

    Parameters
    ----------
    model : VAE
    images : array or tensor
    folder : Path
        Where weights are kept, while under way and when done.
    settings : dict
        As JSON keeps them, `batch_size` and `epochs` among them; training under
        way with others is refused.
    title : str
        For the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, seconds = folder / "settings.json", folder / "seconds.json"
    if file.exists() and json.loads(file.read_text()) != settings:
        raise SystemExit(f"{folder} holds training with other settings: remove it.")
    file.write_text(json.dumps(settings))
    weights = folder / "final.weights.h5"
    if weights.exists():
        model.load_weights(weights)
    else:
        model.fit(
            images,
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            verbose=0,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(folder / "backup")),
                Clock(seconds, settings["epochs"], title),
            ],
        )
        model.save_weights(weights)
    return json.loads(seconds.read_text())
