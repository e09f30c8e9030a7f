"""From HTTP answers to typed errors."""

import pytest

from stagecoach.runtime import errors
from stagecoach.runtime.errors import from_response


def answer(code: int, body: bytes = b"{}", **headers: str) -> errors.ApiError:
    return from_response(code, {name.replace("_", "-"): value for name, value in headers.items()}, body, "create jobs")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.Rejected),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (422, errors.Rejected),
        (429, errors.Throttled),
        (500, errors.ServerError),
        (503, errors.ServerError),
    ],
)
def test_codes(code: int, kind: type[errors.ApiError]) -> None:
    assert type(answer(code)) is kind


def test_a_taken_name_is_told_from_a_lost_race_by_the_reason() -> None:
    assert isinstance(answer(409, b'{"reason": "AlreadyExists"}'), errors.AlreadyExists)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("0", 0.1), ("100000", 60), ("soon", 1)])
def test_the_server_s_pause_is_kept_within_reason(header: str, seconds: float) -> None:
    error = answer(429, Retry_After=header)
    assert isinstance(error, errors.Throttled)
    assert error.retry_after == seconds


def test_a_server_that_fails_may_ask_for_a_pause_too() -> None:
    assert answer(503, Retry_After="7").retry_after == 7
    assert answer(503).retry_after == answer(404).retry_after == 0


def test_the_old_form_of_the_pause() -> None:
    error = answer(429, b'{"details": {"retryAfterSeconds": 3}}')
    assert isinstance(error, errors.Throttled)
    assert error.retry_after == 3


def test_a_missing_right_is_named_with_what_to_do() -> None:
    body = (
        b'{"reason": "Forbidden", "message": "jobs.batch is forbidden: User \\"x\\" cannot create resource \\"jobs\\""}'
    )
    text = str(answer(403, body))
    assert 'cannot create resource "jobs"' in text
    assert "Grant" in text


def test_a_proxy_s_page_is_quoted_and_bounded() -> None:
    text = str(answer(502, b"<html>" + b"x" * 10_000))
    assert text.startswith("create jobs: <html>")
    assert len(text) < 300
