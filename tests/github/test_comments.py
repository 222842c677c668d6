"""One comment, edited in place: against a server that pages, limits, refuses and races."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evalharness.github.client import Client, GitHubError
from evalharness.github.comments import LIMIT, Posted, marker, upsert
from tests.github.runner import GitHub, pull

OLD = marker("gate") + "\n<!-- evalharness-run:40.1 -->\nold"


def write(
    github: GitHub, text: str = "verdict", *, name: str = "gate", number: int = 7, **job: Any
) -> Posted:
    about = github.job(**job)
    with Client(about, sleep=lambda _: None) as client:
        return upsert(client, about, number, name, lambda limit: text[:limit])


def test_the_first_run_creates_and_later_ones_edit(github: GitHub) -> None:
    assert write(github, "first").done == "created"
    posted = write(github, "second", run_id=51)
    (only,) = github.comments
    assert posted == Posted("edited", only["html_url"])
    assert only["body"] == "<!-- evalharness:gate -->\n<!-- evalharness-run:51.1 -->\nsecond"


def test_gates_of_two_names_have_a_comment_each(github: GitHub) -> None:
    write(github, "one")
    write(github, "two", name="gate.search")
    write(github, "two again", name="gate.search")
    assert [c["body"].splitlines()[-1] for c in github.comments] == ["one", "two again"]


def test_its_own_comment_is_found_on_the_third_page(github: GitHub) -> None:
    others = [{"issue": 7, "body": f"remark {i}", "token": "person"} for i in range(230)]
    github.seed(comments=[*others, {"issue": 7, "body": OLD, "token": "job"}])
    assert write(github).done == "edited"
    assert len(github.comments) == 231
    assert github.calls("GET").count("/repos/acme/shop/issues/7/comments") == 3


@pytest.mark.parametrize(
    ("token", "writer", "body"),
    [
        ("job", "person", OLD),  # a person who copied the comment with its marker
        ("job", "job", "> " + OLD),  # a bot that quotes it
        ("person", "job", OLD),  # another account's gate
    ],
)
def test_what_others_wrote_is_left_alone(github: GitHub, token: str, writer: str, body: str) -> None:
    github.seed(comments=[{"issue": 7, "body": body, "token": writer}])
    assert write(github, token=token).done == "created"
    assert github.comments[0]["body"] == body and len(github.comments) == 2


def test_a_comment_that_is_deleted_before_the_edit_is_created_anew(github: GitHub) -> None:
    github.seed(comments=[{"issue": 7, "body": OLD, "token": "job"}])
    gone = github.comments[0]["id"]
    github.script({"method": "GET", "path": "/comments$", "delete": gone})
    assert write(github).done == "created"
    (only,) = github.comments
    assert only["id"] != gone and "verdict" in only["body"]


def test_two_runs_that_create_at_once_leave_one_comment_with_the_later_verdict(github: GitHub) -> None:
    # Both have looked and found nothing, and both create, before either goes on.
    github.script({"method": "POST", "path": "/issues/7/comments$", "wait": 2})
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(write, github, f"of run {run}", run_id=run) for run in (60, 61)]
        assert {run.result().done for run in runs} <= {"created", "edited", "left"}
    (only,) = github.comments
    assert only["body"].splitlines()[-1] == "of run 61"


def test_duplicates_of_an_earlier_race_are_cleared(github: GitHub) -> None:
    github.seed(comments=[{"issue": 7, "body": OLD, "token": "job"}] * 3)
    oldest = github.comments[0]["id"]
    write(github)
    assert [c["id"] for c in github.comments] == [oldest]


def test_an_earlier_run_that_ends_late_does_not_overwrite_a_later_verdict(github: GitHub) -> None:
    write(github, "regression", run_id=90)
    assert write(github, "pass", run_id=89).done == "left"
    assert "regression" in github.comments[0]["body"]


def test_a_server_that_takes_less_gets_less(github: GitHub) -> None:
    post = {"method": "POST", "path": "/comments$", "limit": 40_000}
    github.script(post, post)
    assert write(github, "x" * 70_000).done == "created"
    assert 20_000 < len(github.comments[0]["body"]) <= LIMIT // 2


def test_a_comment_is_as_long_as_github_takes_and_no_longer(github: GitHub) -> None:
    write(github, "🌈" * 70_000)
    assert len(github.comments[0]["body"]) == LIMIT
    assert len([c for c in github.calls("POST")]) == 1


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        ({"status": 403, "headers": {"Retry-After": "7"}, "message": "secondary rate limit"}, 7),
        ({"status": 429, "headers": {"Retry-After": "0"}}, 0),
        ({"status": 403, "message": "You have exceeded a secondary rate limit."}, 60),
        ({"status": 502}, 1),
    ],
)
def test_limits_and_failures_are_waited_for(github: GitHub, answer: dict[str, Any], waits: float) -> None:
    github.script({"method": "POST", "path": "/comments$", **answer})
    slept: list[float] = []
    assert again(github, slept.append).done == "created"
    assert slept == [waits] and len(github.comments) == 1


@pytest.mark.parametrize("skew", [-86_400, 0, 86_400])
def test_a_reset_is_reckoned_by_the_servers_clock(
    github: GitHub, skew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now + skew)
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(now + 20)}
    github.script({"method": "POST", "path": "/comments$", "status": 403, "headers": headers})
    slept: list[float] = []
    again(github, slept.append)
    assert len(slept) == 1 and 15 <= slept[0] <= 23


def test_a_wait_that_is_too_long_is_an_error_that_says_so(github: GitHub) -> None:
    far = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3000)}
    github.script(
        {"method": "GET", "path": "/comments$", "status": 403, "headers": far, "message": "rate limit"}
    )
    with pytest.raises(GitHubError, match=r"asked to wait (2,9|3,0)\d\d s, which is too long"):
        again(github, lambda _: None)


def test_a_server_that_stays_down_is_given_up(github: GitHub) -> None:
    github.script(*[{"method": "GET", "path": "/comments$", "status": 503}] * 5)
    slept: list[float] = []
    with pytest.raises(GitHubError, match="503"):
        again(github, slept.append)
    assert slept == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("token", "number", "said"),
    [
        ("reader", 7, "403.*not accessible.*the token lacks the permission `pull-requests: write`"),
        ("ghp_wrong", 7, r"401.*Bad credentials \[token\].*the token is wrong"),
        ("job", 99, "404.*the token may not see it"),
    ],
)
def test_refusals_name_what_to_change_and_never_the_token(
    github: GitHub, token: str, number: int, said: str
) -> None:
    with pytest.raises(GitHubError, match=said) as caught:
        write(github, token=token, number=number)
    assert "ghp_wrong" not in str(caught.value)
    assert github.comments == []


def test_a_list_that_leads_elsewhere_gets_no_token(github: GitHub) -> None:
    # another origin, though the same machine: the call would be seen
    there = github.url.replace("127.0.0.1", "localhost")
    link = f'<{there}/repos/acme/shop/issues/7/comments?page=2>; rel="next"'
    github.script({"method": "GET", "path": "/comments$", "link": link})
    with pytest.raises(GitHubError, match="another server, which gets no token"):
        again(github, lambda _: None)
    assert github.calls("GET").count("/repos/acme/shop/issues/7/comments") == 1


def test_an_unreachable_server_is_said(github: GitHub) -> None:
    with pytest.raises(GitHubError, match="cannot be reached"):
        write(github, api="http://127.0.0.1:9")


def again(github: GitHub, sleep: Callable[[float], None]) -> Posted:
    about = github.job()
    with Client(about, sleep=sleep) as client:
        return upsert(client, about, 7, "gate", lambda limit: "verdict")


def test_the_pull_request_of_a_workflow_run_is_the_one_at_its_commit(github: GitHub) -> None:
    from evalharness.github.incoming import pull_request_of

    github.seed(
        pulls=[pull(7), pull(8, label="fork:topic", sha="c" * 40), pull(9, label="fork:topic", sha="d" * 40)]
    )
    run = {"head_repository": {"owner": {"login": "fork"}}, "head_branch": "topic", "head_sha": "d" * 40}
    job = github.job(event_name="workflow_run", event={"workflow_run": run})
    with Client(job) as client:
        assert pull_request_of(client, job) == 9
        stale = github.job(event_name="workflow_run", event={"workflow_run": run | {"head_sha": "e" * 40}})
        assert pull_request_of(client, stale) is None
