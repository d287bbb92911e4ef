"""A hub on this machine: what the Hugging Face hub, and the places with plain addresses, say to who downloads.

    GET, HEAD  /[datasets/]OWNER/NAME/resolve/REVISION/PATH   text: 307 to a relative address; else 302 to the CDN
    GET        /api/{models,datasets}/OWNER/NAME[/revision/REVISION], …/tree/REVISION[/PATH] (in pages)
    POST       /api/{models,datasets}/OWNER/NAME/paths-info/REVISION
    GET        /cdn/SHA256                                    on another host name, as the hub's; ranges
    GET        /url/HOST/PATH                                 https://HOST/PATH; GitHub's releases redirect

Gated repositories want `Authorization: Bearer TOKEN`, which a client must not send on to the CDN. Every request is in
`Hub.log`. `Hub.faults` makes the next downloads of a file go wrong.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_local"
TEXT = (".json", ".txt", ".md", ".yaml")
"""Suffixes of files that the hub keeps in git itself, with the blob's hash as their ETag; others are in LFS."""
PAGE = 3
"""Entries of a page of the API: few, so that clients have to turn pages."""
BLOCK = 1 << 16
REPOSITORY = r"(?P<kind>datasets/)?(?P<name>[\w.-]+/[\w.-]+)"
RESOLVE = re.compile(rf"/{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
CACHED = re.compile(
    r"/api/resolve-cache/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/(?P<revision>[^/]+)/(?P<path>.+)"
)
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
    r"(/(?P<verb>revision|tree|paths-info)/(?P<revision>[^/]+)(/(?P<path>.+))?)?"
)


@dataclass
class Repository:
    """What one repository holds at its newest commit, which is the only one."""

    commit: str
    files: dict[str, Path]
    gated: bool = False


@dataclass(frozen=True)
class Request:
    """One line of the log."""

    method: str
    path: str
    status: int
    range: str = ""
    sent: int = 0
    authorized: bool = False

    def __str__(self) -> str:
        more = " ".join(filter(None, [self.range, "authorized" if self.authorized else ""]))
        return f"{self.method:4} {self.status} {self.sent:>9} {self.path}{f'  ({more})' if more else ''}"


@dataclass
class Hub:
    """Repositories by kind and name, files by https address, and what was asked for."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    addresses: dict[str, Path] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By a file's name, what happens to the next downloads of it: `cut` (half of what is left, then the end), `slow`
    (a little at a time), `wrong` (another byte in the middle), `busy` (503)."""
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, kind: str, name: str, commit: str | None, folder: Path, gated: bool = False) -> None:
        """Serve all of `folder`, beside what the repository has already."""
        commit = commit or hashlib.sha1(name.encode()).hexdigest()
        found = self.repositories.setdefault((kind, name), Repository(commit, {}, gated))
        assert found.commit == commit, f"{name}: two commits"
        found.files |= {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}

    def mirror(self, pinned: Mapping[str, str]) -> dict[str, Any]:
        """What EVALKIT_MIRROR is to say, with the sha256 that stand in for recorded ones."""
        hosts = dict.fromkeys(urlsplit(url).netloc for url in self.addresses)
        return {"addresses": {f"https://{host}/": f"{self.endpoint}/url/{host}/" for host in hosts}, "sha256": pinned}

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        """Serve, on a port of its own."""
        handler = type("BoundHandler", (Handler,), {"hub": self, "lock": Lock()})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.daemon_threads = True
            self.port = server.server_port
            Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield self
            server.shutdown()

    def asked(self, part: str) -> list[Request]:
        """Requests whose path has `part` in it."""
        return [request for request in self.log if part in request.path]

    def summary(self) -> Counter[tuple[str, int]]:
        """How often each method got each status."""
        return Counter((request.method, request.status) for request in self.log)


def digest(path: Path) -> str:
    """sha256 of a file, remembered."""
    key = (path, path.stat().st_mtime_ns)
    if key not in _DIGESTS:
        _DIGESTS[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return _DIGESTS[key]


_DIGESTS: dict[tuple[Path, int], str] = {}


def etag(path: Path) -> str:
    """sha256 of a file in LFS, git's hash of another."""
    if path.suffix in TEXT:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return digest(path)


def entry(name: str, path: Path) -> dict[str, Any]:
    """A file as the API describes it."""
    size = path.stat().st_size
    about = {"type": "file", "path": name, "size": size, "oid": etag(path)}
    if path.suffix not in TEXT:
        about["lfs"] = {"oid": digest(path), "size": size, "pointerSize": 134}
    return about


class Handler(BaseHTTPRequestHandler):
    """Answers one connection, request after request, as the hub's load balancer does."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    lock: Lock

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_GET

    def answer(self) -> None:
        split = urlsplit(self.path)
        path = unquote(split.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if found := CACHED.fullmatch(path):
            self.resolve(found["kind"], found, direct=True)
        elif found := RESOLVE.fullmatch(path):
            self.resolve("datasets" if found["kind"] else "models", found)
        elif found := API.fullmatch(path):
            self.api(found, parse_qs(split.query))
        elif path.startswith("/cdn/"):
            known = {digest(p): p for repo in self.hub.repositories.values() for p in repo.files.values()}
            known |= {digest(p): p for p in self.hub.addresses.values()}
            file = known.get(path.removeprefix("/cdn/"))
            self.send_file(file) if file else self.say(404)
        elif path.startswith("/url/"):
            self.plain(f"https://{path.removeprefix('/url/')}")
        else:
            self.say(404)

    def plain(self, url: str) -> None:
        file = self.hub.addresses.get(url)
        if file is None:
            self.say(404)
        elif "/releases/download/" in url:  # GitHub's, and so is this
            self.say(302, {"Location": f"http://localhost:{self.hub.port}/cdn/{digest(file)}"})
        else:
            self.send_file(file)

    def repository(self, kind: str, name: str, revision: str | None) -> Repository | None:
        """The repository, once it may be seen; else an answer was given."""
        found = self.hub.repositories.get((kind, name))
        commit = {"X-Repo-Commit": found.commit} if found else {}
        authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found is None:  # to who is not logged in, what there is not may be private
            self.refuse(404 if authorized else 401, "RepoNotFound", "Repository not found")
        elif found.gated and not authorized:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted. You must be authenticated", commit)
        elif revision not in (None, "main", found.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def resolve(self, kind: str, asked: re.Match[str], direct: bool = False) -> None:
        found = self.repository(kind, asked["name"], asked["revision"])
        if found is None:
            return
        commit = {"X-Repo-Commit": found.commit}
        file = found.files.get(asked["path"])
        if file is None:
            self.refuse(404, "EntryNotFound", "Entry not found", commit)
        elif direct:
            self.send_file(file, commit)
        elif file.suffix in TEXT:
            to = f"/api/resolve-cache/{kind}/{asked['name']}/{found.commit}/{asked['path']}"
            self.say(307, {**commit, "Location": to, "X-Linked-Size": str(file.stat().st_size)})
        else:
            linked = {"X-Linked-Size": str(file.stat().st_size), "X-Linked-Etag": f'"{digest(file)}"'}
            self.say(302, {**commit, **linked, "Location": f"http://localhost:{self.hub.port}/cdn/{digest(file)}"})

    def api(self, asked: re.Match[str], query: dict[str, list[str]]) -> None:
        found = self.repository(asked["kind"], asked["name"], asked["revision"])
        if found is None:
            return
        if asked["verb"] == "paths-info":
            sent = self.body.decode()
            wanted = json.loads(sent)["paths"] if sent.startswith("{") else parse_qs(sent)["paths"]
            self.say_json([one for path in wanted if (one := self.entry(found, path.strip("/")))])
        elif asked["verb"] == "tree":
            self.tree(found, asked["path"] or "", query)
        else:
            siblings = [{"rfilename": name} for name in found.files]
            self.say_json(
                {"id": asked["name"], "sha": found.commit, "private": False, "gated": found.gated, "disabled": False,
                 "downloads": 0, "likes": 0, "tags": [], "siblings": siblings}
            )  # fmt: skip

    def entry(self, found: Repository, path: str) -> dict[str, Any] | None:
        if path in found.files:
            return entry(path, found.files[path])
        if any(name.startswith(f"{path}/") for name in found.files):
            return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
        return None

    def tree(self, found: Repository, below: str, query: dict[str, list[str]]) -> None:
        start = f"{below}/" if below else ""
        inside = [name for name in found.files if name.startswith(start)]
        parents = {p.as_posix() for name in inside for p in Path(name).parents if p.as_posix() not in (".", below)}
        names = sorted({*inside, *(parent for parent in parents if parent.startswith(start))})
        if query.get("recursive", ["false"])[0].lower() in ("false", "0"):
            names = [name for name in names if "/" not in name.removeprefix(start)]
        if not names:
            self.refuse(404, "EntryNotFound", f"{below} does not exist")
            return
        first = int(query.get("cursor", ["0"])[0])
        more = {}
        if first + PAGE < len(names):
            kept = "&".join(f"{key}={values[0]}" for key, values in query.items() if key != "cursor")
            address = f"{self.hub.endpoint}{urlsplit(self.path).path}?{kept}&cursor={first + PAGE}"
            more["Link"] = f'<{address}>; rel="next"'
        self.say_json([self.entry(found, name) for name in names[first : first + PAGE]], more)

    def send_file(self, file: Path, headers: Mapping[str, str] | None = None) -> None:
        content = file.read_bytes()
        faults = self.hub.faults.get(file.name, [])
        with self.lock:
            fault = faults.pop(0) if faults and self.command == "GET" else ""
        if fault == "busy":
            self.say(503)
            return
        if fault == "wrong":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        first, last = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
        about = {"ETag": f'"{etag(file)}"', "Accept-Ranges": "bytes", **(headers or {})}
        if asked and first >= len(content):
            self.say(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        if asked:
            about["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        part = content[first : last + 1]
        sent = part[: len(part) // 2] if fault == "cut" else part
        self.say(206 if asked else 200, {**about, "Content-Type": "application/octet-stream"}, sent, len(part), fault)
        if fault == "cut":
            self.close_connection = True

    def refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.say(status, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def say_json(self, content: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.say(200, {"Content-Type": "application/json", **(headers or {})}, body, len(body))

    def say(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", length: int = 0, fault: str = ""
    ) -> None:
        """Answer, and remember it; `body` may be less than the `length` that is announced."""
        body = b"" if self.command == "HEAD" else body
        authorized = "Authorization" in self.headers
        path = self.path if len(self.path) < 200 else f"{self.path[:200]}…"
        with self.lock:
            range_ = self.headers.get("Range") or ""
            self.hub.log.append(Request(self.command, path, status, range_, len(body), authorized))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        step = max(1, len(body) // 5) if fault == "slow" else BLOCK
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if fault == "slow":
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *words: object) -> None:
        pass
