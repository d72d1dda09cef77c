"""Settings: the only reader of the environment. `.env.example` describes every field; a test holds the two together."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain import Mode
from app.errors import StartupError

MIB = 1024 * 1024

PathsByDomain = Annotated[dict[str, Path], NoDecode]
Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """All settings of the service, typed and validated; secrets do not show in `repr`.

    Read from the environment, then from a `.env` file in the working directory. An empty value counts as unset.

    :raises pydantic.ValidationError: naming each field that is wrong.
    """

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    # --- the web service
    host: str = "127.0.0.1"
    port: int = Field(5001, ge=1, le=65535)
    web_workers: int = Field(2, ge=1, le=64)
    web_threads: int = Field(4, ge=1, le=64)
    recognize_max_waiting: int = Field(8, ge=0, le=256)
    recognize_wait_limit_s: float = Field(10.0, gt=0.0, le=600.0)
    request_timeout_s: int = Field(60, ge=5)
    graceful_timeout_s: int = Field(30, ge=1)
    cors_origins: Names = ()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "text"] = "auto"

    # --- places
    storage_dir: Path = Path("storage")
    gallery_dir: Path | None = None
    pkl_files: PathsByDomain = Field(default_factory=dict)
    tokens_file: Path | None = None
    backup_dir: Path | None = None

    # --- the mode (CONTRACT, part A)
    vector_db_enabled: bool = False
    vector_db_dual_mode: bool = True
    vector_db_primary: Literal["pkl", "pgvector"] = "pkl"
    dual_mode_sample_rate: float = Field(1.0, ge=0.0, le=1.0)

    # --- the evidence for the cutover
    parity_retention_days: int = Field(90, ge=1)
    parity_queue: int = Field(2000, ge=1)
    parity_explain_queue: int = Field(200, ge=1)
    parity_explain_timeout_ms: int = Field(5000, ge=50)
    parity_keep_faces: bool = False
    parity_key: SecretStr | None = None
    parity_min_comparisons: int = Field(1000, ge=1)
    parity_min_hours: float = Field(24.0, ge=0.0)
    parity_min_match_rate: float = Field(0.95, ge=0.0, lt=1.0)
    parity_max_unexplained: int = Field(0, ge=0)
    parity_max_candidate_error_rate: float = Field(0.001, gt=0.0, le=1.0)

    # --- the pgvector gallery
    database_url: SecretStr | None = None
    database_pool_size: int = Field(4, ge=1, le=64)
    database_connect_timeout_s: int = Field(3, ge=2, le=60)
    vector_db_timeout_ms: int = Field(5000, ge=50)
    vector_db_candidate_timeout_ms: int = Field(500, ge=10)
    vector_db_ef_search: int = Field(200, ge=10, le=1000)
    vector_db_exact_max_rows: int = Field(10_000, ge=0)
    vector_db_similarity_threshold: float | None = Field(None, ge=-1.0, le=1.0)
    vector_db_target_recall: float = Field(0.999, gt=0.0, lt=1.0)
    vector_db_target_recall_top5: float = Field(0.99, gt=0.0, lt=1.0)
    vector_db_retry_ef_search: int = Field(0, ge=0, le=1000)
    vector_db_retry_margin: float = Field(0.02, ge=0.0, le=2.0)

    # --- where the gallery of the database is searched (docs/milvus.md)
    gallery_backend: Literal["pgvector", "milvus"] = "pgvector"
    gallery_milvus_uri: SecretStr | None = None
    gallery_milvus_token: SecretStr | None = None
    gallery_milvus_collection: str = Field("face_gallery", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")
    gallery_milvus_index: Literal["HNSW", "FLAT"] = "HNSW"
    gallery_milvus_ef: int = Field(200, ge=10, le=4096)

    # --- the engine
    face_model: str = "ArcFace"
    face_detector: str = "retinaface"
    face_engine: Literal["onnx", "tensorflow"] = "onnx"
    face_pipeline: Literal["deepface", "fast"] = "deepface"
    face_align: bool = True
    face_normalization: Literal["base", "raw", "Facenet", "Facenet2018", "VGGFace", "VGGFace2", "ArcFace"] = "base"
    face_expand_percentage: int = Field(0, ge=0, le=100)
    face_image_max_side: int = Field(1280, ge=0)
    face_distance_threshold: float | None = Field(None, gt=0.0, le=2.0)
    face_min_size: int = Field(20, ge=0)
    face_weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    face_weights_download: bool = True
    deepface_home: Path | None = None

    # --- the bulk embedding
    ingest_faces: Literal["largest", "all", "skip"] = "largest"

    # --- enrolment
    enrol_min_face_px: int = Field(60, ge=0)
    enrol_min_sharpness: float = Field(60.0, ge=0.0)
    enrol_min_brightness: float = Field(40.0, ge=0.0, le=255.0)
    enrol_max_brightness: float = Field(220.0, ge=0.0, le=255.0)
    enrol_dominance: float = Field(4.0, ge=1.0)

    # --- the console
    console_enabled: bool = True
    console_secret_key: SecretStr | None = Field(None, min_length=32)
    console_session_hours: int = Field(12, ge=1, le=720)
    console_cookie_secure: bool | None = None
    trusted_proxies: int = Field(0, ge=0, le=10)

    # --- videos (CONTRACT, part B)
    video_max_mb: int = Field(2048, ge=1)
    video_max_minutes: float = Field(180.0, gt=0.0)
    video_max_megapixels: float = Field(9.0, gt=0.0)
    video_sample_fps: float = Field(2.0, gt=0.0, le=30.0)
    video_keep_upload: bool = False
    video_retention_days: int = Field(90, ge=1)
    video_tenant_max_jobs: int = Field(100, ge=1)
    video_max_attempts: int = Field(3, ge=1, le=20)
    video_stalled_after_s: int = Field(30, ge=2)
    video_ray_address: str | None = None
    video_webhook_secret: SecretStr | None = Field(None, min_length=16)
    video_webhook_allow_private: bool = False
    video_store: Literal["local", "s3"] = "local"
    video_s3_bucket: str | None = None
    video_s3_region: str = "us-east-1"
    video_s3_endpoint_url: str | None = None
    video_s3_access_key: SecretStr | None = None
    video_s3_secret_key: SecretStr | None = None

    # --- profile search (CONTRACT, part B)
    profile_search_enabled: bool = False
    profile_search_milvus_uri: SecretStr | None = None
    profile_search_milvus_token: SecretStr | None = None
    profile_search_milvus_collection: str = Field("buffalo_l", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")
    profile_search_mongo_uri: SecretStr | None = None
    profile_search_mongo_db: str = "media_recognizer"
    profile_search_mongo_collection: str = "GenericFeatures"
    profile_search_s3_bucket: str | None = None
    profile_search_s3_region: str = "us-east-1"
    profile_search_s3_endpoint_url: str | None = None
    profile_search_s3_access_key: SecretStr | None = None
    profile_search_s3_secret_key: SecretStr | None = None
    profile_search_min_similarity: float = Field(0.70, ge=-1.0, le=1.0)
    profile_search_top_k: int = Field(5, ge=1, le=100)
    profile_search_nprobe: int = Field(16, ge=1, le=65536)
    profile_search_timeout_ms: int = Field(5000, ge=50)
    profile_search_photo_timeout_ms: int = Field(3000, ge=50)
    profile_search_photo_max_kb: int = Field(1024, ge=1)

    # --- uploads
    upload_max_mb: int = Field(20, ge=1, le=1024)
    image_max_megapixels: int = Field(80, ge=1, le=1000)

    @classmethod
    def load(cls, env_file: Path | None = None) -> Self:
        """The settings of this process.

        :param env_file: read in the place of `.env`; the environment wins over either.
        :raises StartupError: one sentence that names each wrong setting, and shows no value.
        """
        try:
            return cls(_env_file=env_file) if env_file else cls()
        except ValidationError as exc:
            wrong = "; ".join(f"{_setting_of(error['loc'])}: {error['msg']}" for error in exc.errors())
            raise StartupError(f"Correct the settings ({wrong}); .env.example describes them.") from None

    @field_validator("pkl_files", mode="before")
    @classmethod
    def _split_pkl_files(cls, value: object) -> object:
        """`serbia=/data/serbia.pkl,slovenia=/data/slovenia.pkl` -> dict."""
        if not isinstance(value, str):
            return value
        pairs = [item.partition("=") for item in value.split(",") if item.strip()]
        if not all(path.strip() for _, _, path in pairs):
            raise ValueError("write it as domain=/path/to/file.pkl, several separated by commas")
        return {domain.strip(): path.strip() for domain, _, path in pairs}

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @model_validator(mode="after")
    def _check_candidate_limit(self) -> Self:
        if self.vector_db_candidate_timeout_ms > self.request_timeout_s * 1000:
            raise ValueError("VECTOR_DB_CANDIDATE_TIMEOUT_MS must not be longer than REQUEST_TIMEOUT_S")
        return self

    @model_validator(mode="after")
    def _check_milvus(self) -> Self:
        if self.gallery_backend == "pgvector" or not self.vector_db_enabled:  # without, the PKL answers, as ever
            return self
        if self.gallery_milvus_uri is None:
            raise ValueError("GALLERY_BACKEND=milvus needs GALLERY_MILVUS_URI")
        if "://" not in self.gallery_milvus_uri.get_secret_value() and self.web_workers > 1:
            raise ValueError("Milvus Lite, a file, serves one process only: set WEB_WORKERS=1 or name a Milvus server")
        return self

    @property
    def mode(self) -> Mode:
        """Who answers `/recognize`."""
        if not self.vector_db_enabled:
            return Mode.PKL
        return Mode.DUAL if self.vector_db_dual_mode else Mode.PGVECTOR

    @property
    def pgvector_answers(self) -> bool:
        """Whether `/recognize` answers from pgvector: after the cutover, with or without the PKL as a shadow."""
        return self.mode is Mode.PGVECTOR or (self.mode is Mode.DUAL and self.vector_db_primary == "pgvector")

    @cached_property
    def galleries(self) -> Path:
        """One folder per domain: images, and the domain's PKL as DeepFace names it."""
        return self.gallery_dir or self.storage_dir / "galleries"

    @cached_property
    def tokens_path(self) -> Path:
        return self.tokens_file or self.storage_dir / "tokens.json"

    @cached_property
    def backups(self) -> Path:
        """One folder per backup; better on another disk."""
        return self.backup_dir or self.storage_dir / "backups"

    @cached_property
    def videos(self) -> Path:
        """Uploads that wait or are being worked on, and, with VIDEO_STORE=local, what was made of them."""
        return self.storage_dir / "videos"

    @cached_property
    def profile_photos(self) -> Path:
        """Photos of profiles, while PROFILE_SEARCH_S3_BUCKET is not set."""
        return self.storage_dir / "profiles"

    @cached_property
    def pgdata(self) -> Path:
        """Data folder of the embedded Postgres, used while DATABASE_URL is not set."""
        return self.storage_dir / "pgdata"

    @cached_property
    def weights_home(self) -> Path:
        """What DeepFace calls DEEPFACE_HOME: weights lie in `.deepface/weights` below it."""
        return self.deepface_home or self.storage_dir / "models"

    def to_environment(self) -> dict[str, str]:
        """The fields that were set, as environment variables for a child process; secrets in the clear."""
        return {name.upper(): _written(getattr(self, name)) for name in self.model_fields_set}

    @property
    def upload_max_bytes(self) -> int:
        return self.upload_max_mb * MIB


def _setting_of(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location).upper() or "settings"


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
