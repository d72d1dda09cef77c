"""Carry an existing PKL gallery into Postgres without loading a model, and prove that both answer alike."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_ingest import bulk_runs
from app.bootstrap_scripts import EVERY_ROW, GalleryContainer
from app.domain import check_domain_name
from app.gallery_view import SearchableGallery
from app.logs import configure_logging
from app.services.transfer.gallery_lint import Lint, all_faces, lint, rebased
from app.services.transfer.pkl_import import Proof, ProofRequest, import_faces, prove
from config import Settings
from scripts.terminal import exit_code, progress_bar

_SHA256 = re.compile(r"[0-9a-f]{64}")


def main(argv: Sequence[str] | None = None) -> int:
    """Import, index and prove; 0 when the database answers like the PKL, 1 with the reason where it does not."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    return exit_code(lambda: GalleryContainer(_settings(arguments)), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.migrate_pkl_to_postgres_standalone", description=__doc__)
    parser.add_argument("pkl", nargs="?", type=_file, help="default: the domain's own PKL, as the service finds it")
    parser.add_argument("--domain", required=True, help="the domain it becomes in the database")
    parser.add_argument("--dry-run", action="store_true", help="only read the PKL and report what is in it")
    parser.add_argument("--strip-prefix", metavar="FOLDER", help="take this folder off the images' paths")
    parser.add_argument(
        "--weights-sha256", type=_digest, help="of the model's weights, where they are not on this host"
    )
    parser.add_argument("--probes", type=int, default=200, help="rows searched in both for the proof (%(default)s)")
    parser.add_argument("--target-recall", type=float, default=0.99, help="of the index (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def _digest(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise argparse.ArgumentTypeError("a SHA-256 is 64 hexadecimal digits in lower case")
    return text


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = Settings.load()
    named: dict[str, object] = {}
    if arguments.pkl:
        named["pkl_files"] = {**settings.pkl_files, check_domain_name(arguments.domain): arguments.pkl}
    if arguments.weights_sha256:
        named["face_weights_sha256"] = arguments.weights_sha256
    return settings.model_copy(update=named)


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    console = Console(stderr=arguments.json)
    gallery: SearchableGallery = container.pkl_gallery(arguments.domain)
    if arguments.strip_prefix:
        gallery = rebased(gallery, arguments.strip_prefix)
    left_out = container.pkl_snapshots.status()[arguments.domain].left_out.to_document()
    found = lint(all_faces(gallery), left_out, container.settings.galleries / arguments.domain)
    console.print(_lint_table(found))
    document: dict[str, object] = {"lint": found.to_document()}
    proof = None if arguments.dry_run else _migrate(container, arguments, gallery, console)
    if proof:
        console.print(_proof_table(proof))
        console.print(f"For the fastest search: python -m scripts.tune_search --domain {arguments.domain}")
        document["proof"] = proof.to_document()
    if arguments.json:
        sys.stdout.write(f"{json.dumps(document)}\n")
    return 0 if proof is None or proof.holds else 1


def _migrate(
    container: GalleryContainer, arguments: argparse.Namespace, gallery: SearchableGallery, console: Console
) -> Proof:
    running_database(container)
    container.migrate()
    rows = sum(1 for _ in all_faces(gallery))
    with (
        bulk_runs(container).running("pkl_import", arguments.domain) as note,
        progress_bar(console, "faces", rows, note) as advance,
    ):
        report = import_faces(container.bulk_loader, arguments.domain, all_faces(gallery), advance)
    console.print(
        f"{report.inserted} inserted, {report.updated} updated, {report.unchanged} were there already, "
        f"{report.left_out} cannot be stored."
    )
    with console.status("building the HNSW index"):
        container.vector_db.ensure_index(arguments.domain)
    galleries = container.comparable_gallery(EVERY_ROW), container.comparable_gallery(0)
    request = ProofRequest(arguments.probes, arguments.target_recall)
    with progress_bar(console, "proof", 2 * min(arguments.probes, rows)) as advance:
        return prove(gallery, arguments.domain, *galleries, request, advance)


def _lint_table(found: Lint) -> Table:
    table = Table("in the PKL", "count", title="Lint")
    table.add_row("rows that can be searched", str(found.rows))
    table.add_row("persons", str(found.persons))
    for reason, rows in found.left_out.items():
        table.add_row(f"rows left out: {reason.replace('_', ' ')}", str(rows))
    table.add_row("images that do not exist in the gallery folder", str(found.missing_images))
    names = "".join(f"\n  {escape(' = '.join(names))}" for names in found.colliding_names)
    table.add_row(f"names alike but for case, spacing or diacritics{names}", str(len(found.colliding_names)))
    return table


def _proof_table(proof: Proof) -> Table:
    table = Table("search", "probes", "equal answers", "recall", "wanted", title="Proof")
    exact, served = proof.exact, proof.served
    table.add_row("exact", str(exact.probes), f"{exact.match_rate:.2%}", f"{exact.recall:.2%}", "100 % equal answers")
    wanted = f"recall of {proof.target_recall:.2%}"
    table.add_row("as served", str(served.probes), f"{served.match_rate:.2%}", f"{served.recall:.2%}", wanted)
    table.caption = "The import holds." if proof.holds else "The import does NOT hold."
    return table


if __name__ == "__main__":
    sys.exit(main())
