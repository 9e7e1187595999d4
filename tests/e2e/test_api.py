"""The HTTP API: asked by curl and by the command from another machine, by people and programs of every role."""
from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import pathlib
import re
import ssl
import subprocess
import time
from typing import Any, Iterator

import jsonschema
import pytest
from support.lab import CONTROLLER, LAPTOP
from support.netns import Result, wait_for
from support.tg import PEOPLE, REPOSITORY, Tg, resource

DENIED, LOGIN, UNREACHABLE, USAGE, CONFLICT = 5, 4, 3, 2, 6
PORT = 8445
BASE = f"https://{CONTROLLER}:{PORT}/api/v1"
POLICY = (PEOPLE + resource("NAS", "nas.home.int") +
          "".join(f'[[user]]\nemail = "{role}@example.com"\nrole = "{role}"\n' for role in ("owner", "admin", "auditor")) +
          '[[service]]\nname = "ci"\nrole = "admin"\n[[policy]]\nname = "sensitive"\n')
PEOPLE_OF = {"owner": "owner@example.com", "admin": "admin@example.com", "auditor": "auditor@example.com", "member": "bob@example.com"}


class Api:
    """A controller with --api, and a token of everybody."""

    def __init__(self, tg: Tg) -> None:
        self.tg, self.ca = tg, tg.lab.root / "api-ca.pem"
        self.tokens = {role: self.token(who, "*:write") for role, who in PEOPLE_OF.items()}
        shown = tg.lab.laptop.run(["curl", "-sSk", "-m", "5", f"{BASE}/ca.pem"]).ok().out
        self.ca.write_text(shown)

    def token(self, who: str, *scopes: str) -> str:
        words = [w for scope in scopes for w in ("--scope", scope)]
        return self.tg.admin("api-token create", who, *words).ok().out.strip()

    def curl(self, path: str, *words: str, token: str | None = None, timeout: float = 20.0) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers, asked from the laptop."""
        auth = ["-H", f"Authorization: Bearer {token}"] if token else []
        out = self.tg.lab.laptop.run(["curl", "-sS", "-m", "15", "-i", "--cacert", self.ca, *auth, *words, f"{BASE}{path}"], timeout).ok().out
        while out.startswith("HTTP/1.1 100"):
            out = out.partition("\r\n\r\n")[2]
        head, _, body = out.partition("\r\n\r\n")
        lines = head.split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split()[1]), json.loads(body) if "json" in headers.get("content-type", "") else body, headers

    def send(self, method: str, path: str, body: Any = None, role: str = "owner", **headers: str) -> tuple[int, Any, dict[str, str]]:
        words = ["-X", method] + [w for k, v in headers.items() for w in ("-H", f"{k.replace('_', '-')}: {v}")]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return self.curl(path, *words, token=self.tokens[role])

    def command(self, command: str, *words: str, role: str = "owner", token: str | None = None) -> Result:
        """tg controller on the laptop, where no controller is."""
        env = {**self.tg.env(), "TG_API_TOKEN": token or self.tokens[role]}
        return self.tg.lab.laptop.run([self.tg.binary, "controller", *command.split(), *words], env=env)


@pytest.fixture(scope="module")
def api(session_tg: Tg) -> Iterator[Api]:
    tg = session_tg
    tg.stop()
    tg.controller_arguments = ["--api", f"{CONTROLLER}:{PORT}", "--certificate-lifetime", "40s"]
    try:
        tg.start(POLICY)
        yield Api(tg)
    finally:
        tg.stop()
        tg.controller_arguments, tg.policy = [], ""


def test_the_ca_that_it_shows_is_the_one_that_the_controllers_address_pins(api: Api) -> None:
    key = subprocess.run(["openssl", "x509", "-in", api.ca, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    pin = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    status = json.loads(api.tg.admin("status", "--json").ok().out)
    assert status["address"].endswith("#" + pin)
    assert status["api"] == {"listen": f"{CONTROLLER}:{PORT}", "public": f"{CONTROLLER}:{PORT}"}
    assert api.curl("/me", token=api.tokens["auditor"])[:2] == (200, {
        "who": f"auditor@example.com, by API token {token_id(api, 'auditor')}", "user": "auditor@example.com", "role": "auditor", "scopes": ["*:write"]})


def token_id(api: Api, role: str) -> str:
    """The id that lists show: the first bytes of what is in the token."""
    text = api.tokens[role].removeprefix("tg1_")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return raw[5:9].hex()


def test_who_shows_no_token_gets_nothing_but_the_manual(api: Api) -> None:
    status, body, headers = api.curl("/users")
    assert status == 401 and body["code"] == "login_needed" and headers["www-authenticate"] == 'Bearer realm="tg"'
    assert headers["content-type"] == "application/problem+json"
    for header in ("Authorization: Basic YWxpY2U6eA==", "Authorization: Bearer tg1_nonsense", f"Authorization: Bearer {api.tg.token('device', 'bob@example.com')}"):
        assert api.curl("/users", "-H", header)[0] == 401
    assert api.curl("/openapi.json")[1]["openapi"] == "3.1.0"
    status, page, headers = api.curl("/")
    assert status == 200 and "/api/v1/users/{name}" in page and "default-src 'none'" in headers["content-security-policy"]
    for path in ("/planets", "/../../etc/passwd", "/users/%00"):
        assert api.curl(path, "--path-as-is")[0] in (401, 404)


def test_a_stranger_sends_no_body_and_nobody_a_longer_one_than_it_takes(api: Api) -> None:
    big = api.tg.lab.root / "big.json"
    big.write_text('{"email":"' + "x" * 3_000_000 + '"}')
    def upload(*words: str) -> tuple[int, int]:
        out = api.tg.lab.laptop.run(["curl", "-sS", "-m", "15", "--cacert", api.ca, "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue",
                                     "--expect100-timeout", "10", "-H", "Content-Type: application/json", "--data-binary", f"@{big}", *words,
                                     f"{BASE}/users"]).ok().out.split()
        return int(out[0]), int(out[1])
    assert upload() == (401, 0)
    assert upload("-H", f"Authorization: Bearer {api.tokens['owner']}") == (413, 0)
    # Without asking first: what is not taken is not kept either.
    out = api.tg.lab.laptop.run(["curl", "-sS", "-m", "15", "--cacert", api.ca, "-H", "Expect:", "-H", "Content-Type: application/json", "--data-binary", f"@{big}",
                                 "-w", "%{http_code}", f"{BASE}/users"])
    assert out.code != 0 or out.out.endswith("401"), out


def test_who_does_not_take_his_answers_costs_nothing(api: Api) -> None:
    """A thousand questions for the whole document at once, and not one answer read: without a token."""
    assert api.tg.controller is not None
    def memory() -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{api.tg.controller.pid}/status").read_text())[1])      # type: ignore[index, union-attr]
    def ticks() -> int:
        return sum(map(int, pathlib.Path(f"/proc/{api.tg.controller.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))    # type: ignore[union-attr]
    def idle(since: list[float] = []) -> bool:
        """The controller has done next to nothing for half a second: it is through with all that it was sent."""
        since.append(ticks())
        return len(since) > 10 and since[-1] - since[-11] <= 2
    before = memory()
    context = ssl.create_default_context(cafile=str(api.ca))
    held = []
    try:
        for _ in range(5):
            plain = api.tg.lab.laptop.socket(timeout=10)
            plain.connect((CONTROLLER, PORT))
            held.append(context.wrap_socket(plain, server_hostname=CONTROLLER))
            held[-1].settimeout(1)
            with contextlib.suppress(TimeoutError):
                for _ in range(20):
                    held[-1].sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert api.curl("/me", token=api.tokens["auditor"])[0] == 200, "others are answered meanwhile"
        wait_for("the controller is through", idle, 30, 0.05)
        assert memory() - before < 30_000, "KiB"
        held[0].settimeout(10)
        assert held[0].recv(100).startswith(b"HTTP/1.1 200 OK"), "and who reads at last is told"
    finally:
        for one in held:
            one.close()


def test_who_may_not_ask_does_not_wait_either(api: Api) -> None:
    started = time.monotonic()
    no = api.curl("/audit?after=99999999&wait_ms=30000", token=api.tokens["member"])
    assert no[0] == 403 and time.monotonic() - started < 10
    big = api.tg.lab.root / "big-state.json"
    big.write_text('{"networks":[' + " " * 5_000_000 + "]}")
    out = api.tg.lab.laptop.run(["curl", "-sS", "-m", "15", "--cacert", api.ca, "-X", "PUT", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-H",
                                 "Expect: 100-continue", "--expect100-timeout", "10", "-H", "Content-Type: application/json", "--data-binary", f"@{big}",
                                 "-H", f"Authorization: Bearer {api.tokens['member']}", f"{BASE}/state"]).ok().out
    assert out == "403 0", out
    log = api.tg.controller.text()                         # type: ignore[union-attr]
    assert "API, bob@example.com, by API token" in log and "it takes admin" in log and "tg1_" not in log.replace("tg1_…", ""), log


def test_the_manual_is_read_and_nothing_else(api: Api) -> None:
    assert api.curl("/openapi.json", "-X", "DELETE")[0] == 405
    assert api.curl("/", "-X", "POST")[0] == 405


def test_everything_that_the_command_does_here_it_does_from_afar(api: Api) -> None:
    kinds = ["network", "connector", "relay", "identity-provider", "policy", "user", "service", "key", "group", "resource", "device", "session", "request", "api-token"]
    for kind in kinds:
        here, there = api.tg.admin(f"{kind} list", "--json").ok().out, api.command(f"{kind} list", "--json").ok().out
        def still(text: str) -> Any:
            return json.loads(re.sub(r'"(last_seen|last_used)":\d+', '"when":0', text))
        assert still(here) == still(there), kind
    assert api.command("export").ok().out == api.tg.admin("export").ok().out
    file = api.tg.lab.root / "again.toml"
    file.write_text(POLICY)
    assert api.command("apply", str(file), "--dry-run").ok().err == "nothing to change\n"
    file.write_text(POLICY + '[[test]]\nuser = "bob@example.com"\ncan = ["nas.home.int:22"]\n')
    refused = api.command("apply", str(file))
    assert refused.code == 1 and 'again.toml' in refused.err and "nothing was changed" in refused.err, refused
    assert api.command("network create", "office").ok().out == "+ network office\n"
    again = api.command("network create", "office")
    assert again.code == CONFLICT and again.err == 'tg: the network "office" exists already\n', again
    assert api.command("network delete", "office").ok().out == "- network office\n"
    entry = json.loads(api.command("audit", "--newest", "1", "--json").ok().out)["entries"][0]
    assert (entry["who"], entry["from"], entry["action"]) == (f"owner@example.com, by API token {token_id(api, 'owner')}", LAPTOP, "remove"), entry
    assert re.fullmatch(r"\d+:[0-9a-f]{64}\n", api.command("audit verify").ok().out)
    assert "NAS" in api.command("resource show", "NAS").ok().out
    assert api.command("connector token", "home-1").ok().out.startswith("tg1_")
    assert "up since" in api.command("status").ok().out


def test_a_role_is_told_what_it_lacks(api: Api) -> None:
    assert api.command("user list", role="auditor").ok().out
    no = api.command("user create", "x@example.com", role="auditor")
    assert no.code == DENIED and no.err == "tg: who is auditor may not do this: it takes admin\n", no
    assert api.command("user create", "x@example.com", role="admin").ok()
    no = api.command("user update", "x@example.com", "--role", "owner", role="admin")
    assert no.code == DENIED and "only an owner" in no.err and "x@example.com" in no.err, no
    assert api.command("user delete", "x@example.com", role="admin").ok()
    no = api.command("user update", "owner@example.com", "--to", "blocked", role="admin")
    assert no.code == DENIED and "only an owner" in no.err, no
    assert [u["email"] for u in json.loads(api.command("user list", "--json", role="member").ok().out)["users"]] == ["bob@example.com"]
    narrow = api.token("owner@example.com", "users:read")
    no = api.command("group list", token=narrow)
    assert no.code == DENIED and no.err == "tg: this API token is not for that: it lacks the scope groups:read\n", no
    assert api.command("user list", token=api.token("ci", "users:read")).ok().out, "a service has a role too"


def test_a_token_ends_with_its_revocation_and_with_its_owner(api: Api) -> None:
    token = api.token("bob@example.com", "*:read")
    assert api.command("device list", token=token).ok()
    api.tg.admin("user update", "bob@example.com", "--to", "blocked").ok()
    try:
        gone = api.command("device list", token=token)
        assert gone.code == LOGIN and "blocked" in gone.err, gone
    finally:
        api.tg.admin("user update", "bob@example.com", "--to", "active").ok()
    assert api.command("device list", token=token).ok()
    ids = [t["id"] for t in json.loads(api.tg.admin("api-token list", "--json").ok().out)["api_tokens"] if t["user"] == "bob@example.com"]
    shown = base64.urlsafe_b64decode(token.removeprefix("tg1_") + "==")[5:9].hex()
    assert shown in ids
    api.tg.admin("api-token delete", shown).ok()
    assert api.command("device list", token=token).code == LOGIN
    short = api.tg.admin("api-token create", "bob@example.com", "--scope", "*:read", "--expires", "1s").ok().out.strip()
    wait_for("the token is over", lambda: api.command("device list", token=short).code == LOGIN, 10)


def test_who_follows_the_record_is_told_until_his_token_ends(api: Api) -> None:
    token = api.token("auditor@example.com", "audit:read")
    follower = api.tg.lab.laptop.start([api.tg.binary, "controller", "audit", "--newest", "1", "--follow"], "audit-follow",
                                       env={**api.tg.env(), "TG_API_TOKEN": token})
    wait_for("it tells the newest", lambda: "create api-token" in follower.text(), 10, explain=follower.text)
    api.tg.admin("network create", "followed").ok()
    wait_for("it tells the next", lambda: "create network followed" in follower.text(), 10, explain=follower.text)
    api.tg.admin("network delete", "followed").ok()
    api.tg.admin("api-token delete", base64.urlsafe_b64decode(token.removeprefix("tg1_") + "==")[5:9].hex()).ok()
    assert follower.wait(15) == LOGIN and "not known here" in follower.text(), follower.text()


def test_the_socket_speaks_http_to_root_alone(api: Api) -> None:
    socket = api.tg.state("controller") / "control.sock"
    ask = ["curl", "-sS", "-m", "5", "--unix-socket", socket, "http://localhost/api/v1/me"]
    assert json.loads(api.tg.lab.internet.run(ask).ok().out) == {"who": "root", "user": "", "role": "owner", "scopes": ["*:write"]}
    stranger = api.tg.lab.internet.run(["setpriv", "--reuid", "nobody", "--clear-groups", *ask])
    assert stranger.code != 0 and "me" not in stranger.out, stranger


def test_what_is_wrong_on_the_command_line_is_said_in_one_line(api: Api) -> None:
    def no(code: int, *words: str, token: str | None = None, says: str = "") -> None:
        result = api.command("user list", *words, token=token)
        assert result.code == code and result.err.startswith("tg: ") and result.err.count("\n") == 1 and says in result.err, result
    no(USAGE, token="tg1_half", says="no token, or a part of one is missing")
    no(USAGE, token=api.tg.token("device", "bob@example.com"), says="a token for a device")
    no(USAGE, "--controller", "http://x", says="is not https://HOST[:PORT][#PIN]")
    no(USAGE, "--controller", "https://x#short", says="no pin")
    no(UNREACHABLE, "--controller", f"https://{CONTROLLER}:1", says=f"the controller's API at {CONTROLLER}:1")
    no(DENIED, "--controller", f"https://{CONTROLLER}:{PORT}#{'A' * 43}", says="not believed")
    no(1, "--controller-ca", "/nonexistent", says="--controller-ca")
    here = api.tg.lab.laptop.run([api.tg.binary, "controller", "user", "list", "--controller", BASE], env=api.tg.env())
    assert here.code == USAGE and "takes an API token" in here.err, here
    shown = api.tg.lab.laptop.run([api.tg.binary, "controller", "user", "list", "--api-token", api.tokens["owner"]], env=api.tg.env())
    assert shown.code == USAGE and "TG_API_TOKEN" in shown.err and api.tokens["owner"] not in shown.err, shown
    file = api.tg.lab.root / "owner.token"
    file.write_text(api.tokens["owner"] + "\n")
    assert api.tg.lab.laptop.run([api.tg.binary, "controller", "user", "list", "--api-token", file], env=api.tg.env()).ok()
    assert api.command("user list", "--controller", f"https://{CONTROLLER}:{PORT}", "--controller-ca", str(api.ca)).ok()


# -- the document --------------------------------------------------------------------------------------------------------------
def document(api: Api) -> dict[str, Any]:
    return api.curl("/openapi.json")[1]


def test_the_document_is_openapi_3_1(api: Api) -> None:
    out = subprocess.run(["node", pathlib.Path(REPOSITORY) / "tests/e2e/node/openapi.mjs"], input=json.dumps(document(api)), capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout == "3.1\n", out


def test_every_operation_answers_as_the_document_says(api: Api) -> None:
    """Each is called in earnest; body, status and answer are held against the document's schemas, which allow no member more."""
    doc = document(api)
    operations = {op["operationId"]: (path.removeprefix("/api/v1"), method, op) for path, methods in doc["paths"].items() for method, op in methods.items()}
    called: set[str] = set()

    def check(instance: Any, schema: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator({**schema, "components": doc["components"]}).validate(instance)

    def call(operation: str, body: Any = None, query: str = "", **parts: str) -> Any:
        path, method, op = operations[operation]
        for name, value in parts.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path, path
        if body is not None:
            check(body, op["requestBody"]["content"]["application/json"]["schema"])
        status, answer, headers = api.send(method.upper(), path + query, body)
        good = [code for code in op["responses"] if code != "default"]
        assert [str(status)] == good, (operation, status, answer)
        check(answer, op["responses"][good[0]]["content"]["application/json"]["schema"])
        assert ("etag" in headers) >= ("headers" in op["responses"][good[0]])
        called.add(operation)
        return answer

    call("whoAmI")
    call("getStatus")
    state = call("getState")
    call("applyState", state, "?dry_run=true&prune=true")
    call("listAudit", query="?newest=3")
    call("verifyAudit")
    call("listEvents", query="?most=5&kinds=established,closed")
    entries = {
        "Network": ("networks", {"name": "n 1"}, {"rename": "n/2".replace("/", "-")}),
        "Connector": ("connectors", {"name": "c1", "network": "home"}, {"rename": "c2"}),
        "Relay": ("relays", {"name": "r1", "address": "r.example.com:1"}, {"address": "r.example.com:2"}),
        "IdentityProvider": ("identity-providers", {"name": "p1", "issuer": "https://p.example.com", "client_id": "tg", "domains": ["p.example.com"], "session": "8h"},
                             {"client_id": "tg2", "mfa_contexts": ["phr"]}),
        "Policy": ("policies", {"name": "pol", "mfa": True, "days": ["mon-fri"], "hours": "08:00-18:00", "session": "8h", "until": "2030-01-01T00:00Z", "approval": "1h"},
                   {"hours": "", "session": 3600, "until": 1900000000}),
        "User": ("users", {"email": "u1@example.com", "role": "auditor"}, {"state": "blocked"}),
        "Service": ("services", {"name": "s1"}, {"role": "auditor"}),
        "Group": ("groups", {"name": "g1", "members": ["alice@example.com"]}, {"add": ["bob@example.com"], "remove": ["alice@example.com"]}),
        "Resource": ("resources", {"name": "Res 1", "network": "home", "address": "res.home.int", "tcp": ["22", "8000-8100"], "udp": "none", "groups": ["family"]},
                     {"alias": "res.tg"}),
    }
    for kind, (path, create, update) in entries.items():
        name = create.get("name", create.get("email"))
        made = call(f"create{kind}", create)
        assert made["item"]
        plural = "".join(w.capitalize() for w in path.split("-"))
        assert len(call(f"list{plural}", query="?limit=1")["items"]) == 1
        call(f"get{kind}", name=name.replace(" ", "%20"))
        changed = call(f"update{kind}", update, name=name.replace(" ", "%20"))
        name = update.get("rename", name)
        assert changed["item"].get("name", changed["item"].get("email")) == name
        if kind == "IdentityProvider":
            call("setProviderSecret", {"secret": "s"}, name=name)
            assert api.send("GET", f"/identity-providers/{name}")[1]["secret"] == "hidden"
            call("deleteProviderSecret", name=name)
        if kind == "User":
            proof = {"salt": "00" * 16, "n": 32768, "r": 8, "p": 1, "verifier": "00" * 32}
            call("setPassword", proof, name=name)
            assert call("createTotp", name=name)["uri"].startswith("otpauth://")
            call("deleteTotp", name=name)
            call("deletePassword", name=name)
            token = call("createApiToken", {"user": name, "scopes": ["*:read"], "expires": "1d"})
            call("listApiTokens")
            call("getApiToken", name=token["id"])
            call("deleteApiToken", name=token["id"])
            call("createEnrolmentToken", {"role": "device", "subject": name, "expires": "10m", "trusted": True})
        if kind == "Service":
            key = call("createKey", {"service": name, "expires": "1d", "name": "first"})
            call("listKeys")
            call("getKey", name=key["id"])
            call("updateKey", {"rename": "second"}, name=key["id"])
            call("deleteKey", name=key["id"])
        call(f"delete{kind}", name=name.replace(" ", "%20"))
    device = call("listDevices")["items"][0]["id"]
    call("getDevice", name=device)
    call("updateDevice", {"state": "trusted"}, name=device)
    call("updateDevice", {"state": "pending"}, name=device)
    call("listSessions")
    call("listRequests")
    # These are of people who have signed in, or asked: the answers are held against the document by test_policy's and test_sign_in's providers.
    left = set(operations) - called
    assert left == {"getSession", "deleteSession", "getRequest", "approveRequest", "denyRequest", "deleteDevice"}, left
    for operation in left:
        path, method, op = operations[operation]
        status, answer, _ = api.send(method.upper(), re.sub(r"\{\w+\}", "0000", path), {} if "requestBody" in op else None)
        assert status == 404, (operation, status, answer)
        check(answer, doc["components"]["responses"]["Problem"]["content"]["application/problem+json"]["schema"])


def test_what_is_sent_twice_with_one_key_is_done_once_also_after_a_restart(api: Api) -> None:
    body = {"role": "device", "subject": "bob@example.com", "expires": "10m"}
    first = api.send("POST", "/enrolment-tokens", body, Idempotency_Key="k-1")
    assert first[0] == 201
    assert api.tg.controller is not None
    api.tg.controller.kill()
    api.tg.start_controller()
    again = api.send("POST", "/enrolment-tokens", body, Idempotency_Key="k-1")
    assert again[:2] == first[:2] and again[2]["idempotency-replayed"] == "true"
    assert api.send("POST", "/enrolment-tokens", {**body, "subject": "alice@example.com"}, Idempotency_Key="k-1")[0] == 422


def test_nobody_overwrites_what_somebody_else_has_changed(api: Api) -> None:
    tag = api.send("GET", "/resources/NAS")[2]["etag"]
    assert api.send("PATCH", "/resources/NAS", {"icmp": False}, If_Match=tag)[0] == 200
    status, body, _ = api.send("PATCH", "/resources/NAS", {"icmp": True}, If_Match=tag)
    assert status == 412 and "changed" in body["detail"]
    assert api.send("PATCH", "/resources/NAS", {"icmp": True})[0] == 200


# -- certificates --------------------------------------------------------------------------------------------------------------
def certificate(folder: pathlib.Path, name: str, serial: int) -> None:
    """A self-signed one of `name`, in cert.pem and key.pem."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-set_serial", str(serial), "-keyout", "key.new", "-out", "cert.new"],
                   cwd=folder, check=True, capture_output=True)
    (folder / "key.new").rename(folder / "key.pem")
    (folder / "cert.new").rename(folder / "cert.pem")


def test_browsers_are_shown_the_certificate_that_they_know_and_the_next_one_soon(api: Api) -> None:
    tg, folder = api.tg, api.tg.lab.root / "api-certificate"
    folder.mkdir()
    certificate(folder, "tg.example.com", 11)
    assert tg.controller is not None
    tg.controller.stop()
    before = tg.controller_arguments
    tg.controller_arguments = [*before, "--api-certificate", f"{folder}/cert.pem", "--api-key", f"{folder}/key.pem", "--api-public", f"tg.example.com:{PORT}"]
    tg.start_controller()
    try:
        resolve = ["--resolve", f"tg.example.com:{PORT}:{CONTROLLER}"]
        def page() -> Result:
            return tg.lab.laptop.run(["curl", "-sS", "-m", "5", "--cacert", folder / "cert.pem", *resolve, f"https://tg.example.com:{PORT}/api/v1/"])
        assert "openapi.json" in page().ok().out
        assert api.command("user list").ok().out, "who knows it by its pin says no name, and sees tg's own"
        certificate(folder, "tg.example.com", 12)
        def serial() -> str:
            return tg.lab.laptop.run(f"echo | openssl s_client -connect {CONTROLLER}:{PORT} -servername tg.example.com 2>/dev/null | openssl x509 -noout -serial").out.strip()
        wait_for("the new certificate is shown", lambda: serial() == "serial=0C", 15)
        assert page().ok()
        named = tg.admin("api-token create", "owner@example.com", "--scope", "*:read").ok().out.strip()
        raw = base64.urlsafe_b64decode(named.removeprefix("tg1_") + "==")
        assert f"tg.example.com:{PORT}".encode() in raw, "tokens carry the name"
    finally:
        assert tg.controller is not None
        tg.controller.stop()
        tg.controller_arguments = before
        tg.start_controller()


@pytest.mark.parametrize(("options", "says"), [
    (["--api-certificate", "/x"], "without --api"),
    (["--api", "127.0.0.1:0", "--api-certificate", "/x"], "go together"),
    (["--api", "127.0.0.1:0", "--api-certificate", "/nonexistent", "--api-key", "/nonexistent"], "--api-certificate: "),
    (["--api", "nonsense"], "--api: "),
])
def test_a_controller_with_a_wrong_option_says_which(api: Api, options: list[str], says: str) -> None:
    out = api.tg.lab.nas.run([api.tg.binary, "controller", "serve", "--state", api.tg.lab.root / "other-state", "--listen", "127.0.0.1:0", "--relay-listen", "none",
                              *options], env=api.tg.env())
    assert out.code in (1, 2) and says in out.err and out.err.count("\n") == 1, out
