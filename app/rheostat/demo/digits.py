"""The model of the demo: a small neural network that recognises handwritten digits; it is really trained."""

import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]

from rheostat.schemas.server import JobSettings, LearningRate, Target

BATCH_SIZES = [8, 16, 32, 64, 128, 256, 512]
# The usual defaults of tutorials: batch size 32, and SGD with momentum 0.9 at a learning rate of 0.01.
DEFAULT_BATCH_SIZE = 32
DEFAULT_LEARNING_RATE = 0.01
MOMENTUM = 0.9
HIDDEN_UNITS = (64,)

TARGET_ACCURACY = 0.96
MAX_EPOCHS = 60
ETA_KNOB = 0.5

# A multiple of every batch size, so that all steps of a run are alike. The other 261 samples validate.
TRAINING_SAMPLES = 1536


def job_settings(seed: int) -> JobSettings:
    """Return the settings of the job; the others keep their defaults."""
    return JobSettings(
        batch_sizes=BATCH_SIZES,
        default_batch_size=DEFAULT_BATCH_SIZE,
        eta_knob=ETA_KNOB,
        target=Target(metric="accuracy", value=TARGET_ACCURACY, direction="maximize"),
        max_epochs=MAX_EPOCHS,
        learning_rate=LearningRate(default=DEFAULT_LEARNING_RATE, scaling="sqrt"),
        seed=seed,
    )


class Digits:
    """Scikit-learn's bundled 1,797 images of 8 x 8 pixels, split once into training and validation samples."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        training, validation = order[:TRAINING_SAMPLES], order[TRAINING_SAMPLES:]
        self.training = images[training] / 16, labels[training]
        self.validation = images[validation] / 16, labels[validation]


class Network:
    """A network in training.

    Args:
        digits: The data set.
        batch_size: Samples of one step.
        learning_rate: Learning rate of stochastic gradient descent.
        random: Draws the initial weights and the shuffles. A generator, since scikit-learn would shuffle every
            epoch alike from a seed.
    """

    def __init__(self, digits: Digits, batch_size: int, learning_rate: float, random: np.random.RandomState) -> None:
        self._digits = digits
        self.batch_size = batch_size
        self.steps_per_epoch = TRAINING_SAMPLES // batch_size
        self._model = MLPClassifier(
            HIDDEN_UNITS,
            solver="sgd",
            batch_size=batch_size,
            learning_rate_init=learning_rate,
            momentum=MOMENTUM,
            random_state=random,
        )

    def train_one_epoch(self) -> float:
        """Pass once over all training samples and return the accuracy on the validation samples."""
        self._model.partial_fit(*self._digits.training, classes=np.arange(10))
        return float(self._model.score(*self._digits.validation))
