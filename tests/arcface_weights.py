"""Random weights for DeepFace's ArcFace, the same ones for TensorFlow and for ONNX, as DeepFace expects to find them.

Run as `python -m tests.arcface_weights HOME`: TensorFlow stays in that process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

SEED = 7
OPSET = 18


def main(home: Path) -> None:
    folder = home / ".deepface" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    model = randomised(untrained())
    model.save(folder / "arcface_weights.h5")  # a whole model in the old format: what `load_weights("….h5")` reads
    convert(model, folder / "arcface_weights.onnx")


def untrained() -> Any:
    """The graph as DeepFace's own `load_model` builds it, stopped short of looking for weights."""
    from deepface.commons import weight_utils
    from deepface.models.facial_recognition.tf import ArcFace

    weight_utils.download_weights_if_necessary = lambda **_: ""
    weight_utils.load_model_weights = lambda model, **_: model
    return ArcFace.load_model()


def randomised(model: Any) -> Any:
    """Every weight drawn anew, statistics of the normalisations included, so that signals neither vanish nor explode.

    Untouched normalisations would pass everything through, and a test would not see them swapped.
    """
    rng = np.random.default_rng(SEED)
    for layer in model.layers:
        drawn = [_drawn(layer, _plain_name(weight.name), tuple(weight.shape), rng) for weight in layer.weights]
        layer.set_weights(drawn)
    return model


def _plain_name(name: str) -> str:
    """`kernel`, also where Keras 2 (tf-keras) calls it `conv1_conv/kernel:0`."""
    return name.rpartition("/")[2].partition(":")[0]


def _drawn(layer: Any, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if name == "kernel":
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)
    if type(layer).__name__ == "PReLU":
        return rng.uniform(0, 0.3, shape)
    if name in {"gamma", "moving_variance"}:
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 0.1, shape)


def convert(model: Any, path: Path) -> None:
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, 112, 112, 3), tf.float32, name="face")]
    graph = tf.function(lambda face: model(face, training=False), input_signature=signature)
    tf2onnx.convert.from_function(graph, input_signature=signature, opset=OPSET, output_path=str(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
