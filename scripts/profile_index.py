"""Fill the stores of profile search from a JSONL file or a folder, and look at what they hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_profiles import ProfileIndex, profile_importer, profile_index, profile_verifier
from app.bootstrap_scripts import GalleryContainer
from app.errors import BadRequest
from app.logs import configure_logging
from app.services.profiles.entries import count_entries, read_entries
from app.services.profiles.importing import ImportTotals
from app.services.profiles.verification import TOP, StoreCounts, Verification, VerifyRequest
from config import Settings
from scripts import demo_profiles
from scripts.terminal import exit_code, positive, progress_bar

DONE, NOT_GOOD, SOME_LEFT_OUT = 0, 1, 2
_SHOWN = 50  # of those left out


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked; 0: all is well, 2: some profiles were left out, 1: it failed, or `verify` found something."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    return exit_code(lambda: GalleryContainer(Settings.load()), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.profile_index", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    importing = actions.add_parser("import", help="bring profiles into the stores; those that are complete are skipped")
    importing.add_argument("source", type=Path, nargs="?", metavar="DIR|FILE.jsonl", help="see docs/profiles.md")
    importing.add_argument("--demo", action="store_true", help="made-up profiles of the demo's faces")
    importing.add_argument("--again", action="store_true", help="write those that are complete once more")
    importing.add_argument("--workers", type=positive, default=1, help="processes that embed photos (%(default)s)")
    verify = actions.add_parser("verify", help="hold the stores against each other, and measure what a search finds")
    verify.add_argument("--sample", type=positive, default=200, help="faces that are looked at (%(default)s)")
    verify.add_argument(
        "--photos", type=_none_or_more, default=20, help="photos that are embedded anew, 0 for none (%(default)s)"
    )
    verify.add_argument("--target-recall", type=_share, default=0.99, help=f"recall@{TOP} that is wanted (%(default)s)")
    actions.add_parser("stats", help="what the stores hold")
    return parser


def _none_or_more(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return share


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    console = Console(highlight=False)
    if container.has_database:
        running_database(container)
        container.require_migrated()
    with closing(profile_index(container)) as index:
        if arguments.action == "import":
            return _import(container, index, arguments, console)
        if arguments.action == "verify":
            return _verify(container, index, arguments, console)
        console.print(_counts(index, profile_verifier(container, index).counts()))
        return DONE


def _import(container: GalleryContainer, index: ProfileIndex, arguments: argparse.Namespace, console: Console) -> int:
    source = demo_profiles.write(container.settings.storage_dir / "demo") if arguments.demo else arguments.source
    if source is None:
        raise BadRequest("Name a folder or a JSONL file of profiles, or ask for --demo.")
    importer = profile_importer(container, index, arguments.again, arguments.workers)
    with progress_bar(console, "profiles", count_entries(source)) as advance:
        totals = importer.run(read_entries(source), advance)
    for bad in totals.bad[:_SHOWN]:
        console.print(f"{escape(bad.place)}: {escape(bad.reason)}")
    if len(totals.bad) > _SHOWN:
        console.print(f"... and {len(totals.bad) - _SHOWN} more")
    console.print(_totals(totals))
    return SOME_LEFT_OUT if totals.bad else DONE


def _verify(container: GalleryContainer, index: ProfileIndex, arguments: argparse.Namespace, console: Console) -> int:
    similarity = container.settings.profile_search_min_similarity
    request = VerifyRequest(arguments.sample, arguments.photos, arguments.target_recall, similarity)
    with console.status("looking at the stores"):
        found = profile_verifier(container, index).verify(request)
    console.print(_counts(index, found.counts))
    console.print(_findings(found))
    for remark in _remarks(found, container.settings):
        console.print(remark)
    return DONE if found.holds else NOT_GOOD


def _totals(totals: ImportTotals) -> Table:
    table = Table(title="Import", title_justify="left", show_header=False)
    rows = {
        "profiles imported": totals.imported,
        "there already": totals.present,
        "faces": totals.faces,
        "photos": totals.photos,
        "left out, in part or as a whole": len(totals.bad),
    }
    for label, count in rows.items():
        table.add_row(label, str(count))
    return table


def _counts(index: ProfileIndex, counts: StoreCounts) -> Table:
    table = Table("store", "kind", "holds", title="Profile index", title_justify="left")
    kinds = index.stores.kinds
    table.add_row("vectors", kinds["vectors"], f"{counts.faces} faces")
    table.add_row("documents", kinds["documents"], f"{counts.documents} documents")
    table.add_row("photos", kinds["photos"], f"{counts.photos} photos")
    return table


def _findings(found: Verification) -> Table:
    table = Table("check", "found", "", title=f"{found.entities} entities looked at", title_justify="left")
    similarity = "-" if found.photo_similarity is None else f"{found.photo_similarity:.3f}"
    table.add_row("without a document", str(found.without_document), _mark(not found.without_document))
    table.add_row("without a photo", str(found.without_photo), "ok" if not found.without_photo else "shown without one")
    table.add_row("photo to its own vector, median similarity", similarity, _mark(found.same_model))
    table.add_row(f"recall@{TOP} as set", f"{found.served:.1%}", _mark(found.served >= found.request.target))
    for effort, recall in found.recalls.items():
        table.add_row(f"recall@{TOP} at an effort of {effort}", f"{recall:.1%}", "")
    return table


def _mark(is_well: bool) -> str:
    return "ok" if is_well else "FAIL"


def _remarks(found: Verification, settings: Settings) -> list[str]:
    remarks = []
    if not found.entities:
        remarks.append("The index is empty: python -m scripts.profile_index import")
    if not found.same_model:
        remarks.append("The index was embedded by another model than FACE_MODEL: nothing that is found means anything.")
    if settings.profile_search_milvus_uri and found.effort is not None:
        remarks.append(f"For a recall of {found.request.target:.0%}: PROFILE_SEARCH_NPROBE={found.effort}")
    if found.recalls and found.effort is None:
        remarks.append(f"No effort that was tried reaches {found.request.target:.0%}.")
    if settings.face_model == "Dlib":
        remarks.append(
            "Dlib's similarities lie close together: the same person has 0.93 or more, and 0.70 is anybody. "
            "Set PROFILE_SEARCH_MIN_SIMILARITY=0.93."
        )
    return remarks


if __name__ == "__main__":
    sys.exit(main())
