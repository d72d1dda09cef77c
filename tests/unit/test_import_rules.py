"""The rules of the house about imports, read from the sources (docs/architecture.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for folder in ("app", "scripts", "bench", "systemd") for p in (ROOT / folder).rglob("*.py"))
SOURCES.append(ROOT / "config.py")

# What each layer of app/ may import from the others; a layer not named here may import what DOMAIN may.
DOMAIN = {
    "app.domain",
    "app.errors",
    "app.gallery_matrix",
    "app.gallery_view",
    "app.gallery_change",
    "app.face_index",
    "app.person_names",
    "app.atomic_file",
    "app.timing",
    "app.thread_limits",
}
# The ports of the services whose adapters know more than the domain's nouns.
PORTS = {
    "app.services.profiles.records",
    "app.services.profiles.writing",
    "app.services.profiles.photo_keys",
    "app.services.video.records",
    "app.services.video.objects",
    "app.services.video.queue_work",
}
LAYERS = {
    "app.routes": DOMAIN | {"app.routes", "app.controllers", "app.services", "app.auth", "app.health", "app.console"},
    "app.controllers": DOMAIN | {"app.services", "app.images"},
    "app.services": DOMAIN | {"app.services", "app.images"},
    "app.adapters": DOMAIN | {"app.adapters", "app.migrations"} | PORTS,
    "app.bootstrap": None,  # the composition root
    "app.bootstrap_ingest": None,
    "app.bootstrap_backup": None,
    "app.bootstrap_scripts": None,  # its half for scripts
    "app.bootstrap_calibration": None,
    "app.bootstrap_engine": None,
    "app.bootstrap_milvus": None,
    "app.bootstrap_people": None,  # its part for persons
    "app.bootstrap_console": None,
    "app.bootstrap_parity": None,
    "app.bootstrap_worker": None,
    "app.bootstrap_video": None,
    "app.bootstrap_profiles": None,
    "app.bootstrap_video_api": None,
    "app.worker": None,  # a process of its own, as gunicorn.conf.py is
    "app": None,  # create_app wires the routes
}
# Each vendor SDK is imported in one module; Alembic's environment and versions are one room.
VENDORS = {
    "deepface": "app/adapters/deepface_library.py",
    "psycopg2": "app/adapters/postgres.py",
    "pymilvus": "app/adapters/milvus_connection.py",
    "grpc": "app/adapters/milvus_connection.py",
    "pymongo": "app/adapters/mongo_profiles.py",
    "boto3": "app/adapters/s3_objects.py",
    "botocore": "app/adapters/s3_objects.py",
    "pgvector": "app/adapters/postgres.py",
    "pillow_heif": "app/images.py",
    "PIL": "app/images.py",
    "flask_cors": "app/__init__.py",
    "flask_wtf": "app/routes/console_routes.py",
    "procrastinate": "app/adapters/job_queue.py",
    "psycopg": "app/adapters/job_queue.py",
    "cryptography": "app/adapters/face_seal.py",
    "certifi": "app/adapters/webhook_http.py",
    "ray": "app/adapters/embedding/ray_cluster.py",
    "matplotlib": "app/adapters/tradeoff_plot.py",
    "threadpoolctl": "app/thread_limits.py",
    "scipy": "app/services/video/tracks.py",
    "jinja2": "app/services/parity/html_report.py",
    "dotenv": "app/services/cutover/environment_file.py",
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Modules imported at run time, wherever in the file; `if TYPE_CHECKING:` is passed over."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def layer_of(module: str) -> str | None:
    return next(
        (layer for layer in LAYERS if module == layer or (layer != "app" and module.startswith(layer + "."))), None
    )


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p).startswith("app")], ids=module_of)
def test_imports_run_one_way(path: Path) -> None:
    module = module_of(path)
    layer = layer_of(module)
    allowed = LAYERS[layer] if layer else DOMAIN
    if allowed is None:
        return
    ours = {name for name in imports(path) if name.startswith("app.")}
    wrong = {name for name in ours if not any(name == a or name.startswith(a + ".") for a in allowed)}
    assert not wrong, f"{module} imports {sorted(wrong)}"


@pytest.mark.parametrize(("vendor", "home"), VENDORS.items())
def test_each_vendor_is_imported_in_exactly_one_module(vendor: str, home: str) -> None:
    importers = {str(path.relative_to(ROOT)) for path in SOURCES if vendor in vendors_of(path)}
    assert importers == {home}


def vendors_of(path: Path) -> set[str]:
    """The packages a module imports; a benchmark may import what it measures against, and draw."""
    packages = {name.split(".")[0] for name in imports(path)}
    return packages - {"deepface", "matplotlib"} if path.is_relative_to(ROOT / "bench") else packages


def test_only_config_reads_the_environment() -> None:
    readers = {str(path.relative_to(ROOT)) for path in SOURCES if reads_environment(ast.parse(path.read_text()))}
    assert readers == set()


def reads_environment(tree: ast.Module) -> bool:
    """Whether a variable is looked up; handing all of them to a child, or writing one for a vendor, is allowed."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) == "os.environ"
        ):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.getenv", "os.environ.get"):
            return True
    return False


def test_a_service_that_is_not_set_to_milvus_never_loads_its_client() -> None:
    code = """
import sys
from app.bootstrap import Container
from config import Settings

for settings in ({}, {"vector_db_enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/none"}):
    container = Container(Settings(_env_file=None, **settings))
    assert container.mirror is None
import app.lifecycle, app.bootstrap_people, app.bootstrap_scripts, app.services.recognition_pgvector
print(*sorted({m.split('.')[0] for m in sys.modules}))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"pymilvus", "grpc", "milvus_lite"} & set(loaded.split())


def test_importing_app_is_light() -> None:
    code = "import app, sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    heavy = {
        "flask",
        "deepface",
        "dlib",
        "onnxruntime",
        "tensorflow",
        "psycopg2",
        "sqlalchemy",
        "alembic",
        "pandas",
        "cv2",
    }
    assert not heavy & set(loaded.split())
