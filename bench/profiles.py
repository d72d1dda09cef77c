"""Profile search for a video's identities, ours against the reference design, over the same stores in one run.

    python -m bench.profiles --profiles 100000 --identities 10 [--network-ms 100] [--photo-ms 40]

The reference is the contract's (part B): one identity after another, for each a search of the vectors, a question for
the documents, and the photos one by one. Ours asks each store once, and for photos sixteen at a time. Both go through
the same adapters. The stores: `embedded`, Postgres with pgvector and photos in a folder; and `servers`, Milvus Lite and
stand-ins of MongoDB and S3 that answer at once. Each server is behind a proxy that can hold back what it is sent: the
table says for how long. At 0 ms it shows the work alone; the rest of a gain is fewer waits for the network. The row
`the contract's times` injects those of the contract (400 ms a search, 1.7 s a question for documents, 440 ms a photo).
What an index finds is held against measuring every face in NumPy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.errors import AppError
from app.logs import configure_logging
from bench.profile_measure import Figures, Measuring, Scenario
from bench.profile_places import EMBEDDED, SERVERS, Place, embedded, missing_packages, servers
from bench.profile_vectors import IndexShape, ProfileWorld, world
from bench.reporting import publish

_FAR_ROUNDS = 3  # injected waits differ little
_CONTRACT = Scenario("the contract's times", {"vectors": 400, "documents": 1700, "photos": 440}, rounds=1)
_IDENTITY_MS, _IDENTITY_WITH_PHOTOS_MS = 2_100, 4_300  # part B, "Figures to beat"; of several the sum
_PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {EMBEDDED: embedded, SERVERS: servers}

console = Console(width=140, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and publish."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    with console.status("Making the profiles"):
        made = world(IndexShape(arguments.profiles, arguments.probes))
        measuring = Measuring(made, arguments.identities)
    figures: dict[str, Figures] = {}
    try:
        for name in _places(arguments):
            with tempfile.TemporaryDirectory(prefix="facerec-bench-") as folder:
                with _PLACES[name](Path(folder) / "storage") as place:
                    figures[name] = _measured(place, made, measuring, arguments)
                _show(name, figures[name], _contract(arguments.identities))
    except AppError as error:
        console.print(f"[red]{error.message}")
        return 1
    publish(arguments.name, _document(arguments, figures))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.profiles", description=__doc__)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--identities", type=int, default=10, help="of the video")
    parser.add_argument("--probes", type=int, default=400, help="that recall is measured with")
    parser.add_argument("--network-ms", type=float, default=100.0, help="injected into every call of every server")
    parser.add_argument("--photo-ms", type=float, default=40.0, help="injected into photos alone, in a row of its own")
    parser.add_argument("--places", default=f"{EMBEDDED},{SERVERS}", help="separated by commas")
    parser.add_argument("--no-contract-times", action="store_true", help="leave out the row that takes a minute")
    parser.add_argument("--no-efforts", action="store_true", help="leave out other values of ef_search")
    parser.add_argument("--name", default="profiles", help="of the file in bench/results")
    return parser


def _places(arguments: argparse.Namespace) -> Iterator[str]:
    for name in arguments.places.split(","):
        missing = missing_packages() if name == SERVERS else []
        if missing:
            console.print(f"{name}: left out, as these are not installed: {', '.join(missing)}")
        else:
            yield name


def _measured(place: Place, made: ProfileWorld, measuring: Measuring, arguments: argparse.Namespace) -> Figures:
    with console.status(f"{place.name}: filling the index"):
        filled = place.fill(made, measuring.photos)
    with console.status(f"{place.name}: searching"):
        figures: Figures = {"fill": filled, "found": measuring.served(place)}
        scenarios = _scenarios(place.name, arguments)
        figures["compared"] = {scenario.name: measuring.compared(place, scenario) for scenario in scenarios}
        if place.name == EMBEDDED and not arguments.no_efforts:
            figures["efforts"] = measuring.efforts(place)
    return figures


def _scenarios(place: str, arguments: argparse.Namespace) -> list[Scenario]:
    network_ms, photo_ms = arguments.network_ms, arguments.photo_ms
    near, far = Scenario("0 ms", {}), f"{network_ms:g} ms every call"
    if place == EMBEDDED:
        return [near, Scenario(far, {"postgres": network_ms}, _FAR_ROUNDS)]
    everywhere = dict.fromkeys(("vectors", "documents", "photos"), network_ms)
    photos = Scenario(f"{photo_ms:g} ms a photo", {"photos": photo_ms}, _FAR_ROUNDS)
    scenarios = [near, photos, Scenario(far, everywhere, _FAR_ROUNDS)]
    return scenarios if arguments.no_contract_times else [*scenarios, _CONTRACT]


def _contract(identities: int) -> Figures:
    """The contract's own figures, from stores behind a VPN."""
    return {
        "without_photos_ms": _IDENTITY_MS * identities,
        "with_photos_ms": _IDENTITY_WITH_PHOTOS_MS * identities,
    }


def _show(name: str, figures: Figures, contract: Figures) -> None:
    columns = ("injected", "reference", "ours", "times", "with photos: reference", "ours", "times", "same matches")
    table = Table(*columns, title=f"Profile search, {name}, ms for all identities")
    for scenario, each in figures["compared"].items():
        theirs, ours = each["reference"], each["ours"]
        table.add_row(
            scenario,
            *(f"{design['without_photos_ms']:,.0f}" for design in (theirs, ours)),
            f"{each['times_faster']:.1f}",
            *(f"{design['with_photos_ms']:,.0f}" for design in (theirs, ours)),
            f"{each['times_faster_with_photos']:.1f}",
            "yes" if each["same_matches"] else "[red]no",
        )
    console.print(table)
    console.print(f"the contract's figures: {_told(contract)}")
    console.print(f"found: {_told(figures['found'])}; filled: {_told(figures['fill'])}")
    for effort, found in figures.get("efforts", {}).items():
        console.print(f"  ef_search {effort}: {_told(found)}")


def _told(figures: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def _document(arguments: argparse.Namespace, figures: dict[str, Figures]) -> Figures:
    return {
        "profiles": arguments.profiles,
        "identities": arguments.identities,
        "contract": _contract(arguments.identities),
        "places": figures,
    }


if __name__ == "__main__":
    sys.exit(main())
