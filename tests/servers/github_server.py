"""A loopback server that behaves like GitHub's REST API, as far as a gate's job meets it, as a process of its own.

Below `/api/v3`, as on GitHub Enterprise: comments (100 a page at most, `Link` to the next), pull requests by head,
check runs, artefacts (their zip behind a redirect to another origin). Tokens: `job` is a job's own, which may not ask
who it is and writes as github-actions[bot]; `person` is ann's; `reader` may read; anything else gets 401.

What is told at `/_script` happens to the calls that match, in turn, each once:
    {"method", "path": pattern, "status", "headers", "message"}    this answer in place of the real one
    {"method", "path", "delete": id}                              the real answer, then a comment is deleted
    {"method", "path", "wait": n}                                 hold the call until n such calls are there
    {"method", "path", "limit": n}                                as if n characters were the most of a comment
    {"method", "path", "link": text}                              the real answer with this `Link`
`/_state` tells everything; `/_seed` sets comments, pull requests, artefacts.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import sys
from typing import Any

from aiohttp import web

LIMIT = 65_536
LOGINS = {"job": ("github-actions[bot]", "Bot"), "person": ("ann", "User"), "reader": ("eve", "User")}
EMPTY: dict[str, Any] = {"comments": [], "pulls": [], "artifacts": [], "checks": [], "calls": [], "next": 1}
STATE: dict[str, Any] = {}
SCRIPT: list[dict[str, Any]] = []


def reset() -> None:
    STATE.clear()
    STATE.update({key: list(value) if isinstance(value, list) else value for key, value in EMPTY.items()})
    SCRIPT.clear()


def refuse(status: int, message: str, *, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    return web.json_response({"message": message, **more}, status=status, headers=headers or {})


def comment(number: int, body: str, token: str) -> dict[str, Any]:
    login, kind = LOGINS[token]
    STATE["next"] += 1
    made = {"id": STATE["next"], "issue": number, "body": body, "user": {"login": login, "type": kind}}
    made["html_url"] = f"https://github.example/pull/{number}#issuecomment-{made['id']}"
    STATE["comments"].append(made)
    return made


def scripted(request: web.Request, path: str) -> dict[str, Any]:
    """The next thing that is to happen to this call."""
    for step in SCRIPT:
        if step.get("method", request.method) == request.method and re.search(step["path"], path):
            if "wait" not in step:
                SCRIPT.remove(step)
            return step
    return {}


async def api(request: web.Request) -> web.StreamResponse:
    path = "/" + request.match_info["path"]
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    STATE["calls"].append(
        {"method": request.method, "path": path, "query": dict(request.query), "token": token}
    )
    step = scripted(request, path)
    if "status" in step:
        return refuse(step["status"], step.get("message", "as told"), headers=step.get("headers"))
    if token not in LOGINS:
        return refuse(401, f"Bad credentials {token}")
    if "wait" in step:
        step["here"] = step.get("here", 0) + 1
        for _ in range(200):
            if step["here"] >= step["wait"]:
                break
            await asyncio.sleep(0.02)
    body = await request.json() if request.can_read_body else {}
    if request.method != "GET" and token == "reader":
        return refuse(403, "Resource not accessible by personal access token")
    answer = answered(request, path, token, body, step.get("limit", LIMIT))
    if "link" in step:
        answer.headers["Link"] = step["link"]
    if "delete" in step:
        STATE["comments"] = [one for one in STATE["comments"] if one["id"] != step["delete"]]
    return answer


def answered(
    request: web.Request, path: str, token: str, body: dict[str, Any], limit: int
) -> web.StreamResponse:
    if path == "/user":
        if token == "job":
            return refuse(403, "Resource not accessible by integration")
        return web.json_response({"login": LOGINS[token][0]})
    found = re.fullmatch(r"/repos/acme/shop(/.*)", path)
    if found is None:
        return refuse(404, "Not Found")
    rest = found[1]
    if len(str(body.get("body", ""))) > limit:
        message = f"Body is too long (maximum is {limit} characters)"
        errors = [{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}]
        return refuse(422, "Validation Failed", errors=errors)
    if listed := re.fullmatch(r"/issues/(\d+)/comments", rest):
        number = int(listed[1])
        if number not in [pull["number"] for pull in STATE["pulls"]]:
            return refuse(404, "Not Found")
        if request.method == "POST":
            return web.json_response(comment(number, body["body"], token), status=201)
        return page(request, [one for one in STATE["comments"] if one["issue"] == number])
    if one := re.fullmatch(r"/issues/comments/(\d+)", rest):
        return edited(request, int(one[1]), body)
    if rest == "/pulls":
        wanted = request.query["head"]
        return page(request, [pull for pull in STATE["pulls"] if pull["head"]["label"] == wanted])
    if rest == "/check-runs":
        STATE["checks"].append(body)
        return web.json_response({"html_url": "https://github.example/checks/1"}, status=201)
    if run := re.fullmatch(r"/actions/runs/(\d+)/artifacts", rest):
        kept = [{"id": i, "name": a["name"], "expired": False} for i, a in enumerate(STATE["artifacts"])]
        return web.json_response({"total_count": len(kept), "artifacts": kept if run[1] == "77" else []})
    if zipped := re.fullmatch(r"/actions/artifacts/(\d+)/zip", rest):
        port = request.url.port
        return web.Response(status=302, headers={"Location": f"http://localhost:{port}/_blob/{zipped[1]}"})
    return refuse(404, "Not Found")


def page(request: web.Request, rows: list[Any]) -> web.Response:
    size = min(int(request.query.get("per_page", 30)), 100)
    number = int(request.query.get("page", 1))
    headers = {}
    if number * size < len(rows):
        url = request.url.update_query(page=str(number + 1))
        last = request.url.update_query(page=str(-(-len(rows) // size)))
        headers["Link"] = f'<{url}>; rel="next", <{last}>; rel="last"'
    return web.json_response(rows[(number - 1) * size : number * size], headers=headers)


def edited(request: web.Request, id: int, body: dict[str, Any]) -> web.Response:
    for one in STATE["comments"]:
        if one["id"] == id:
            if request.method == "DELETE":
                STATE["comments"].remove(one)
                return web.Response(status=204)
            one["body"] = body["body"]
            return web.json_response(one)
    return refuse(404, "Not Found")


async def blob(request: web.Request) -> web.Response:
    STATE["calls"].append(
        {"method": "GET", "path": request.path, "token": request.headers.get("Authorization", "")}
    )
    artifact = STATE["artifacts"][int(request.match_info["id"])]
    return web.Response(body=base64.b64decode(artifact["zip"]), content_type="application/zip")


async def state(request: web.Request) -> web.Response:
    return web.json_response(STATE)


async def seed(request: web.Request) -> web.Response:
    reset()
    told = await request.json()
    for one in told.pop("comments", []):
        comment(one["issue"], one["body"], one["token"])
    STATE.update(told)
    return web.json_response({})


async def script(request: web.Request) -> web.Response:
    SCRIPT.extend(await request.json())
    return web.json_response({})


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--exit-with-stdin", action="store_true")
    arguments = parser.parse_args()
    reset()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/_state", state)
    app.router.add_post("/_seed", seed)
    app.router.add_post("/_script", script)
    app.router.add_get("/_blob/{id}", blob)
    app.router.add_route("*", "/api/v3/{path:.*}", api)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", arguments.port)
    await site.start()
    print(f"PORT {runner.addresses[0][1]}", flush=True)
    if arguments.exit_with_stdin:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    else:
        await asyncio.Event().wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
