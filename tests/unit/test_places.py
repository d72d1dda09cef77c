"""Who may hold a thread of a web worker for long, so that others are always free."""

from app.routes.places import Places


def test_videos_and_streams_together_hold_no_more_than_there_is() -> None:
    places = Places(3)
    assert [places.take_for_stream(), places.take_for_video(), places.take_for_video()] == [True] * 3
    assert [places.take_for_stream(), places.take_for_video()] == [False, False]
    places.leave()
    assert places.take_for_stream()
    places.leave_stream()
    assert places.take_for_video()


def test_streams_leave_the_last_place_to_a_video() -> None:
    places = Places(3)
    assert [places.take_for_stream() for _ in range(3)] == [True, True, False]
    assert places.take_for_video()


def test_a_single_place_is_for_whoever_comes_first() -> None:
    places = Places(1)
    assert places.take_for_stream()
    assert not places.take_for_video()
    places.leave_stream()
    assert places.take_for_video()
    assert not places.take_for_stream()
