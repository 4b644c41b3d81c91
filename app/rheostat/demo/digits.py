"""The model of the demo: a small neural network that recognises digits; it is really trained."""

import numpy as np
from numpy.typing import NDArray

from rheostat.demo.drawing import SIDE_PIXELS, draw_digits
from rheostat.schemas.server import JobSettings, LearningRate, Target

BATCH_SIZES = [8, 16, 32, 64, 128, 256, 512]
# The usual defaults of tutorials: batch size 32, and SGD with momentum 0.9 at a learning rate of 0.01.
DEFAULT_BATCH_SIZE = 32
DEFAULT_LEARNING_RATE = 0.01
MOMENTUM = 0.9

TARGET_ACCURACY = 0.96
MAX_EPOCHS = 60
ETA_KNOB = 0.5

# A multiple of every batch size, so that all steps of a run are alike.
TRAINING_SAMPLES = 1536
VALIDATION_SAMPLES = 512

_CLASSES = 10
_LAYERS = (SIDE_PIXELS**2, 64, _CLASSES)


def job_settings(seed: int) -> JobSettings:
    """Return the settings of the job; the others keep their defaults."""
    return JobSettings(
        batch_sizes=BATCH_SIZES,
        default_batch_size=DEFAULT_BATCH_SIZE,
        eta_knob=ETA_KNOB,
        target=Target(metric="accuracy", value=TARGET_ACCURACY, direction="maximize"),
        max_epochs=MAX_EPOCHS,
        learning_rate=LearningRate(default=DEFAULT_LEARNING_RATE, scaling="sqrt"),
        # So that the page compares with what the default took here, not with an estimate.
        first_run="default",
        seed=seed,
    )


class Digits:
    """Drawn digits, the same ones in every demo, split once into training and validation samples."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.training = draw_digits(TRAINING_SAMPLES, random)
        self.validation = draw_digits(VALIDATION_SAMPLES, random)


class _Parameters:
    """Weights and biases of both layers; views of one array, which a step changes at once."""

    def __init__(self) -> None:
        inputs, hidden, outputs = _LAYERS
        shapes = ((inputs, hidden), (hidden,), (hidden, outputs), (outputs,))
        sizes = [int(np.prod(shape)) for shape in shapes]
        self.all = np.zeros(sum(sizes), np.float32)
        parts = np.split(self.all, np.cumsum(sizes)[:-1])
        self.hidden_weights, self.hidden_biases, self.weights, self.biases = (
            part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
        )


class Network:
    """A network with one hidden layer, in training by stochastic gradient descent.

    Args:
        digits: The data set.
        batch_size: Samples of one step.
        learning_rate: Learning rate.
        random: Draws the initial weights and the shuffles.
    """

    def __init__(self, digits: Digits, batch_size: int, learning_rate: float, random: np.random.RandomState) -> None:
        self.batch_size = batch_size
        self.steps_per_epoch = TRAINING_SAMPLES // batch_size
        self._images, labels = digits.training
        self._wanted = np.eye(_CLASSES, dtype=np.float32)[labels]
        self._validation = digits.validation
        self._learning_rate = learning_rate
        self._random = random
        self._parameters, self._gradient, self._velocity = _Parameters(), _Parameters(), _Parameters()
        for weights in (self._parameters.hidden_weights, self._parameters.weights):
            # Glorot's: the variance of what a layer gives is that of what it takes.
            bound = np.sqrt(6 / sum(weights.shape))
            weights[:] = random.uniform(-bound, bound, weights.shape)

    def train_one_epoch(self) -> float:
        """Pass once over all training samples and return the accuracy on the validation samples."""
        order = self._random.permutation(TRAINING_SAMPLES)
        for first in range(0, TRAINING_SAMPLES, self.batch_size):
            batch = order[first : first + self.batch_size]
            self._step(self._images[batch], self._wanted[batch])
        images, labels = self._validation
        return float(np.mean(self._outputs(self._hidden(images)).argmax(axis=1) == labels))

    def _step(self, images: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
        hidden = self._hidden(images)
        outputs = self._outputs(hidden)
        # The gradient of the cross-entropy of a softmax is the difference of the probabilities.
        errors = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        errors /= errors.sum(axis=1, keepdims=True)
        errors -= wanted
        errors *= self._learning_rate / self.batch_size
        np.matmul(hidden.T, errors, out=self._gradient.weights)
        errors.sum(axis=0, out=self._gradient.biases)
        hidden_errors = (errors @ self._parameters.weights.T) * (hidden > 0)
        np.matmul(images.T, hidden_errors, out=self._gradient.hidden_weights)
        hidden_errors.sum(axis=0, out=self._gradient.hidden_biases)
        self._velocity.all *= MOMENTUM
        self._velocity.all -= self._gradient.all
        self._parameters.all += self._velocity.all

    def _hidden(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        hidden: NDArray[np.float32] = images @ self._parameters.hidden_weights
        hidden += self._parameters.hidden_biases
        np.maximum(hidden, 0, out=hidden)
        return hidden

    def _outputs(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = hidden @ self._parameters.weights
        outputs += self._parameters.biases
        return outputs
