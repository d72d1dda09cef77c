"""Folds a journal into its PKL, so that DeepFace, which knows no journal, finds what we find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.adapters.pkl.journal import PklJournal
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_npz, write_pkl
from app.errors import StoreUnavailable
from app.gallery_view import GalleryView, keys_of

# Entries stay for a day after they were folded. A worker takes a new file within seconds, ten minutes at worst; until
# then they stand over the old file, and over the new one they change nothing.
PRUNE_AFTER_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class FoldReport:
    """What a fold did.

    :param rows: of the gallery file now.
    :param before: rows of the gallery file before.
    :param folded: images whose change the file now holds, those of the last day's folds included.
    :param pruned: journal entries that were dropped, because they were folded long ago.
    """

    rows: int
    before: int
    folded: int
    pruned: int


def fold_journal(snapshots: PklSnapshots, domain: str, journal: PklJournal, root: Path) -> FoldReport:
    """Replace the gallery file by one that holds the journal's changes; no answer changes by it.

    :param root: the domain's gallery folder, which images are relative to.
    :raises UnknownDomain, SpecMismatch, StoreUnavailable: the file cannot be read or written; it is as it was.
    """
    path = snapshots.file_of(domain)
    base = snapshots.taken_now(domain)
    state = journal.read()
    view = GalleryView.over(base, keys_of(base.images), state.overlay)
    write = write_npz if path.suffix == ".npz" else write_pkl
    try:
        rows = write(path, view.faces(), root)
    except OSError as exc:
        raise StoreUnavailable(f"{path.name} cannot be written: {exc.strerror}.", code="pkl_not_written") from exc
    if state.last_seq:
        journal.mark_folded(state.last_seq)
    snapshots.taken_now(domain)
    return FoldReport(rows, len(base), len(state.overlay.keys), journal.prune(PRUNE_AFTER_S))
