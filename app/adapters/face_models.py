"""What is known about DeepFace's recognisers and detectors without importing DeepFace.

A start-up checks its configuration, a gallery its dimensions and a weights folder its files by these tables; a test
holds them against the installed DeepFace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal, TypeVar

from app.domain import HNSW_MAX_DIMENSIONS
from app.errors import StartupError

Engine = Literal["onnx", "tensorflow"]

# Under which name `pip` knows a package, where that is not the name it is imported by.
_DISTRIBUTIONS = {
    "dlib": "dlib-bin",
    "retinaface": "retina-face",
    "tf_keras": "tf-keras",
    "facenet_pytorch": "facenet-pytorch",
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a recogniser or detector takes from this machine.

    :param weights: files in DeepFace's weights folder, `/` in the path where it has a folder of its own there.
    :param packages: names as they are imported.
    """

    weights: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A recogniser.

    :param dimensions: length of its embeddings.
    :param threshold: largest cosine distance of the same person, DeepFace's own (deepface.config.threshold).
    """

    name: str
    dimensions: int
    threshold: float
    onnx: Needs
    tensorflow: Needs

    def needs(self, engine: Engine) -> Needs:
        """Exactly one weights file, and the packages that run it."""
        return self.onnx if engine == "onnx" else self.tensorflow


@dataclass(frozen=True, slots=True)
class DetectorFacts:
    """A face detector; most bring their own runtime whatever the engine is.

    :param first_look: long side, in pixels, of the copy on which the pipeline `fast` looks for large faces first; None
        where that is not known to gain anything, because the detector reduces its input itself or was not measured.
    :param grey: it takes (H, W) images as well, in seven tenths of the time; so gives `fast` them to it.
    """

    name: str
    onnx: Needs
    tensorflow: Needs
    first_look: int | None = None
    grey: bool = False

    def needs(self, engine: Engine) -> Needs:
        """Any number of weights files, and the packages that run them."""
        return self.onnx if engine == "onnx" else self.tensorflow


def _model(name: str, dimensions: int, threshold: float, onnx: str, tensorflow: str) -> ModelFacts:
    runs_on_onnx, runs_on_tensorflow = Needs((onnx,), ("onnxruntime",)), Needs((tensorflow,), ("tensorflow",))
    return ModelFacts(name, dimensions, threshold, runs_on_onnx, runs_on_tensorflow)


def _own_runtime_model(name: str, dimensions: int, threshold: float, needs: Needs) -> ModelFacts:
    return ModelFacts(name, dimensions, threshold, needs, needs)


def _detector(name: str, *weights: str, package: str | None = None) -> DetectorFacts:
    needs = Needs(weights, (package,) if package else ())
    return DetectorFacts(name, needs, needs)


def _by_name(facts: Iterable[_Facts]) -> Mapping[str, _Facts]:
    return MappingProxyType({each.name: each for each in facts})


_Facts = TypeVar("_Facts", ModelFacts, DetectorFacts)

MODELS: Mapping[str, ModelFacts] = _by_name(
    (
        _model("ArcFace", 512, 0.68, "arcface_weights.onnx", "arcface_weights.h5"),
        _model("Facenet", 128, 0.40, "facenet_weights.onnx", "facenet_weights.h5"),
        _model("Facenet512", 512, 0.30, "facenet512_weights.onnx", "facenet512_weights.h5"),
        _model("GhostFaceNet", 512, 0.65, "ghostfacenet_v1.onnx", "ghostfacenet_v1.h5"),
        _model("OpenFace", 128, 0.10, "openface_weights.onnx", "openface_weights.h5"),
        _model("DeepID", 160, 0.015, "deepid_weights.onnx", "deepid_keras_weights.h5"),
        _model("VGG-Face", 4096, 0.68, "vgg_face_weights.onnx", "vgg_face_weights.h5"),
        _model(
            "DeepFace",
            4096,
            0.23,
            "VGGFace2_DeepFace_weights_val-0.9034.onnx",
            "VGGFace2_DeepFace_weights_val-0.9034.h5",
        ),
        _own_runtime_model("Dlib", 128, 0.07, Needs(("dlib_face_recognition_resnet_model_v1.dat",), ("dlib",))),
        _own_runtime_model("SFace", 128, 0.593, Needs(("face_recognition_sface_2021dec.onnx",), ("onnxruntime",))),
        _own_runtime_model("Buffalo_L", 512, 0.55, Needs(("buffalo_l/webface_r50.onnx",), ("insightface",))),
    )
)

DETECTORS: Mapping[str, DetectorFacts] = _by_name(
    (
        replace(_detector("opencv"), first_look=480),
        replace(_detector("dlib", "shape_predictor_5_face_landmarks.dat", package="dlib"), first_look=480, grey=True),
        DetectorFacts(
            "retinaface",
            onnx=Needs(("retinaface.onnx",), ("retinaface", "onnxruntime")),
            tensorflow=Needs(("retinaface.h5",), ("retinaface", "tensorflow", "tf_keras")),
        ),
        DetectorFacts("mtcnn", Needs((), ("mtcnn", "tensorflow")), Needs((), ("mtcnn", "tensorflow"))),
        _detector("ssd", "deploy.prototxt", "res10_300x300_ssd_iter_140000.caffemodel"),
        _detector("yunet", "face_detection_yunet_2023mar.onnx"),
        _detector("centerface", "centerface.onnx"),
        _detector("mediapipe", package="mediapipe"),
        _detector("fastmtcnn", package="facenet_pytorch"),
        *(
            _detector(f"yolov{size}", f"yolov{size}-face.pt", package="ultralytics")
            for size in ("8n", "8m", "8l", "11n", "11s", "11m", "11l", "12n", "12s", "12m", "12l")
        ),
    )
)


def model_facts(name: str) -> ModelFacts:
    """The facts about recogniser `name`, written as DeepFace writes it.

    :raises StartupError: there is no such model; it lists those there are and suggests the nearest.
    """
    return MODELS[_known(name, MODELS, "FACE_MODEL")]


def detector_facts(name: str) -> DetectorFacts:
    """The facts about detector `name`, written as DeepFace writes it.

    :raises StartupError: there is no such detector; it lists those there are and suggests the nearest.
    """
    return DETECTORS[_known(name, DETECTORS, "FACE_DETECTOR")]


def require_packages(model: ModelFacts, detector: DetectorFacts, engine: Engine) -> None:
    """Refuse a configuration whose packages are not installed; nothing is imported to find out.

    :raises StartupError: naming what to install.
    """
    wanted = dict.fromkeys(model.needs(engine).packages + detector.needs(engine).packages)
    missing = [_DISTRIBUTIONS.get(package, package) for package in wanted if find_spec(package) is None]
    if missing:
        raise StartupError(
            f"FACE_MODEL={model.name} with FACE_DETECTOR={detector.name} on FACE_ENGINE={engine} needs "
            f"{', '.join(missing)}, which is not installed: pip install {' '.join(missing)}"
        )


def require_indexable(model: ModelFacts) -> None:
    """Refuse a model whose embeddings a pgvector gallery cannot index.

    :raises StartupError: with the limit and the models that fit.
    """
    if model.dimensions > HNSW_MAX_DIMENSIONS:
        fitting = ", ".join(each.name for each in MODELS.values() if each.dimensions <= HNSW_MAX_DIMENSIONS)
        raise StartupError(
            f"FACE_MODEL={model.name} gives {model.dimensions} dimensions, and pgvector's HNSW index takes at most "
            f"{HNSW_MAX_DIMENSIONS}; set VECTOR_DB_ENABLED=false or take one of {fitting}."
        )


def _known(name: str, table: Mapping[str, object], setting: str) -> str:
    if name in table:
        return name
    by_lower_case = {each.lower(): each for each in table}
    nearest = get_close_matches(name.lower(), by_lower_case, n=1)
    suggestion = f" Did you mean {by_lower_case[nearest[0]]}?" if nearest else ""
    raise StartupError(f"{setting}={name} is unknown; there are {', '.join(sorted(table))}.{suggestion}")
