"""People sign in to the HTTP API with a real browser, and what other sites' pages can do in it: nothing."""
from __future__ import annotations

import json
import pathlib
import subprocess
import urllib.parse
from typing import Any, Iterator

import pytest
from support.chromium import Chromium
from support.lab import CONTROLLER, PUBLIC_WEB, Lab
from support.netns import Process, Result, wait_for
from support.oidc import ACCOUNTS, CLIENT, SECRET, SECRET_CLIENT, Browser, Provider
from support.tg import Tg

NAME, PORT, EVIL_PORT = "controller.example.org", 8445, 8446
BASE = f"https://{NAME}:{PORT}"
CALLBACK = f"{BASE}/sign-in/callback/company"
SESSION, SIGN_IN = "__Host-tg-session", "__Host-tg-sign-in"
SAME_SITE, CROSS_SITE = f"https://www.example.org:{EVIL_PORT}", f"https://{PUBLIC_WEB}:{EVIL_PORT}"
STRANGE = "<img src=x onerror=document.title='pwned'>"
STRANGE_CALLBACK = f"{BASE}/sign-in/callback/{urllib.parse.quote(STRANGE, safe='')}"
CAREFUL = {"content-security-policy":
           "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
           "x-frame-options": "DENY", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff",
           "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
           "strict-transport-security": "max-age=31536000"}
POLICY = """
[[identity-provider]]
name = "{name}"
issuer = "https://id.example.com"
client_id = "{client}"
domains = ["example.com"]
session = "{session}"
[[user]]
email = "alice@example.com"
role = "owner"
"""


def policy(session: str = "8h", client: str = CLIENT, name: str = "company") -> str:
    return POLICY.format(session=session, client=client, name=name)


class Web:
    """A controller with --api that browsers reach by a name, and a provider that knows it."""

    def __init__(self, tg: Tg, provider: Provider, folder: pathlib.Path) -> None:
        self.tg, self.provider, self.folder = tg, provider, folder
        self.host = tg.lab.laptop                          # where curl runs: each source may begin 20 sign-ins at once
        self.certificate, self.ca = folder / "cert.pem", folder / "all.pem"
        self.ca.write_text(self.certificate.read_text() + provider.ca_file.read_text())

    def curl(self, path: str, *words: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers."""
        url = path if path.startswith("https://") else BASE + path
        out = self.host.run(["curl", "-sS", "-m", "15", "-i", "--cacert", self.ca, *words, url]).ok().out
        head, _, body = out.partition("\r\n\r\n")
        lines = head.split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            key, _, value = line.partition(": ")
            headers[key.lower()] = headers.get(key.lower(), "") + ("\n" if key.lower() in headers else "") + value
        return int(lines[0].split()[1]), body, headers

    def browser(self) -> Browser:
        """curl, that follows redirects."""
        made = self.provider.browser(self.host)
        made.ca_file = self.ca
        return made

    def sign_in(self, account: str = "alice") -> tuple[Browser, str]:
        """By curl: with what it ended on, and the session's cookie."""
        b = self.at_provider()
        b.submit(account=account, answer="yes")
        b.expect("Do you consent?")
        b.submit(answer="yes")
        return b, self.cookie(b, SESSION)

    def at_provider(self) -> Browser:
        b = self.browser()
        b.open(f"{BASE}/sign-in/start?provider=company")
        b.expect("Who are you?")
        return b

    @staticmethod
    def cookie(b: Browser, name: str) -> str:
        """Of the jar; "" for none."""
        for line in b.jar.read_text().splitlines():
            words = line.split("\t")
            if len(words) == 7 and words[5] == name:
                return words[6]
        return ""

    def me(self, cookie: str, *words: str) -> int:
        return self.curl("/api/v1/me", "-H", f"Cookie: {SESSION}={cookie}", *words)[0]

    def users(self) -> set[str]:
        return {u["email"] for u in json.loads(self.tg.admin("user list", "--json").ok().out)["users"]}

    def audit(self, newest: int = 1) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self.tg.admin("audit", "--newest", str(newest), "--json").ok().out)["entries"]
        return entries


def certificate(folder: pathlib.Path) -> None:
    names = f"subjectAltName=DNS:{NAME},DNS:www.example.org,IP:{PUBLIC_WEB}"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", f"/CN={NAME}", "-addext", names, "-keyout", "key.pem", "-out", "cert.pem"],
                   cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def web(lab: Lab, session_tg: Tg) -> Iterator[Web]:
    tg, folder = session_tg, lab.root / "web"
    folder.mkdir()
    certificate(folder)
    clients = [{"client_id": CLIENT, "redirect_uris": [CALLBACK, STRANGE_CALLBACK]},
               {"client_id": SECRET_CLIENT, "client_secret": SECRET, "redirect_uris": [CALLBACK]}]
    tg.stop()
    with Provider(lab, clients) as provider:
        tg.controller_arguments = ["--ca-bundle", str(provider.ca_file), "--api", f"{CONTROLLER}:{PORT}",
                                   "--api-public", f"{NAME}:{PORT}",
                                   "--api-certificate", f"{folder}/cert.pem", "--api-key", f"{folder}/key.pem"]
        try:
            tg.start_controller()
            tg.apply(policy()).ok()
            yield Web(tg, provider, folder)
        finally:
            tg.stop()
            tg.controller_arguments, tg.policy = [], ""


@pytest.fixture(autouse=True)
def as_it_was(web: Web) -> Iterator[None]:
    yield
    web.host = web.tg.lab.laptop
    provider = web.provider
    if not provider.process or not provider.process.alive():
        provider.start()
    provider.lie(None)
    provider.unavailable(False)
    for account, claims in ACCOUNTS.items():
        provider.set_claims(account, **claims)
    file = web.folder / "policy.toml"
    file.write_text(policy())
    web.tg.admin("apply", str(file), "--prune").ok()


@pytest.fixture
def chromium(web: Web) -> Iterator[Chromium]:
    with Chromium(web.tg.lab.laptop, web.folder, [web.certificate, web.provider.root / "cert.pem"]) as b:
        yield b


# What a page of another site tries; tg's address is in it as TG.
EVIL = r'''
import http.server, ssl, sys
at, port, cert, key, tg = sys.argv[1:]
PAGES = {
    "/out": "<form method=post action=TG/sign-in/out><button>x</button></form>",
    "/plain": """<form method=post enctype=text/plain action=TG/api/v1/users>
                 <input type=hidden name='{"email":"evil-1@example.com","role":"owner","x":"' value='"}'>
                 <button>x</button></form>""",
    "/form": """<form method=post action=TG/api/v1/users><input type=hidden name=email value=evil-2@example.com>
                <button>x</button></form>""",
    "/frame": "<iframe src=TG/sign-in></iframe><iframe src=TG/api/v1/me></iframe>",
    "/me": "<form action=TG/api/v1/me><button>x</button></form>",
    "/quiet": "",
}
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = PAGES.get(self.path)
        data = ("<!doctype html><title>evil</title>" + (body or "")).replace("TG", tg).encode()
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
server = http.server.ThreadingHTTPServer((at, int(port)), Page)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("it listens", flush=True)
server.serve_forever()
'''


@pytest.fixture(scope="module")
def evil(web: Web) -> Iterator[Process]:
    program = web.folder / "evil.py"
    program.write_text(EVIL)
    words = [program, PUBLIC_WEB, str(EVIL_PORT), web.certificate, web.folder / "key.pem", BASE]
    process = web.tg.lab.internet.start(["/usr/bin/python3", *words], "evil", ready="it listens")
    yield process
    process.kill()


def sign_in(b: Chromium, account: str = "alice") -> None:
    """As a person does it, from the page that people are told of."""
    b.open(BASE)
    b.wait("Sign in at company")
    b.find("a.button").click()
    b.wait("Who are you?")
    b.find("input[name=account]").send_keys(account)
    b.find("button[value=yes]").click()
    b.wait("Do you consent?")
    b.find("button[value=yes]").click()
    b.wait("Sign out")


def who(b: Chromium) -> Any:
    """What the API says of the browser that asks it."""
    b.open(f"{BASE}/api/v1/me")
    return json.loads(b.find("body").text)


# -- the way that it is meant ---------------------------------------------------------------------------------------------------

def test_a_person_signs_in_asks_the_api_and_signs_out(web: Web, chromium: Chromium) -> None:
    sign_in(chromium)
    assert chromium.url == f"{BASE}/sign-in"
    assert "You are signed in as alice@example.com, who is owner, until " in chromium.text
    assert who(chromium) == {"who": "alice@example.com, in a browser", "user": "alice@example.com", "role": "owner",
                             "scopes": ["*:write"]}
    began = web.audit()[0]
    assert (began["action"], began["kind"], began["who"]) == ("sign-in", "web-session", "alice@example.com by company"), began
    assert began["after"]["methods"] == ["pwd"] and 0 < began["after"]["expires"] - began["after"]["started"] <= 8 * 3600
    chromium.open(f"{BASE}/sign-in")
    border = chromium.run("return getComputedStyle(document.querySelector('button')).borderTopStyle")
    assert border == "solid", "the style is there"
    chromium.find("button").click()
    chromium.wait("Sign in at company")
    assert who(chromium)["code"] == "login_needed"
    assert chromium.driver.get_cookies() == []
    ended = web.audit()[0]
    assert [ended[key] for key in ("action", "kind", "who", "name")] == ["sign-out", "web-session",
                                                                         "alice@example.com, in a browser", began["name"]]


def test_the_cookie_is_for_this_origin_alone_and_for_no_script(web: Web, chromium: Chromium) -> None:
    sign_in(chromium)
    assert chromium.run("return document.cookie") == ""
    (cookie,) = chromium.driver.get_cookies()
    value = cookie["value"].encode()
    del cookie["value"]
    assert cookie == {"name": SESSION, "path": "/", "secure": True, "httpOnly": True, "sameSite": "Strict", "domain": NAME}
    state = web.tg.state("controller")
    for file in state.iterdir():
        if file.is_file():
            assert value not in file.read_bytes(), "whoever reads the state has no session"


def test_a_page_runs_no_script_whoever_puts_it_there(web: Web, chromium: Chromium) -> None:
    sign_in(chromium)
    assert chromium.run("var s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s); "
                        "return window.pwned") is None
    assert chromium.run("var d = document.createElement('div'); d.innerHTML = '<img src=x onerror=\"window.pwned=1\">'; "
                        "document.body.append(d); d.firstChild.dispatchEvent(new Event('error')); return window.pwned") is None
    assert chromium.run("var d = document.createElement('p'); d.setAttribute('style', 'color: rgb(1, 2, 3)'); "
                        "document.body.append(d); return getComputedStyle(d).color") != "rgb(1, 2, 3)", "nor takes a style"


def test_what_others_say_is_shown_as_text(web: Web, chromium: Chromium) -> None:
    web.tg.admin("identity-provider update", "company", "--rename", STRANGE).ok()
    try:
        chromium.open(f"{BASE}/sign-in")
        chromium.wait(f"Sign in at {STRANGE}")
        chromium.find("a.button").click()
        chromium.wait("Who are you?")
    finally:
        web.tg.admin("identity-provider update", STRANGE, "--rename", "company").ok()
    script = "<script>document.title='pwned'</script>"
    chromium.open(f"{BASE}/sign-in/start?provider={urllib.parse.quote(script)}")
    chromium.wait(f'There is no identity provider "{script}" here')
    # What a provider says of an error, in the browser whose sign-in it is.
    status, _, headers = web.curl("/sign-in/start?provider=company")
    assert status == 303
    state = urllib.parse.parse_qs(urllib.parse.urlparse(headers["location"]).query)["state"][0]
    value = headers["set-cookie"].split("=", 1)[1].split(";")[0]
    chromium.driver.add_cookie({"name": SIGN_IN, "value": value, "path": "/", "secure": True, "httpOnly": True})
    said = {"state": state, "iss": web.provider.issuer, "error": "<b>bad", "error_description": script}
    chromium.open(f"{CALLBACK}?" + urllib.parse.urlencode(said))
    chromium.wait(f"it says <b>bad: {script}")
    assert chromium.driver.title == "tg: You are not signed in"
    assert chromium.run("return document.querySelectorAll('script, img, b').length") == 0


# -- other sites' pages (SAME_SITE's requests carry even a Strict cookie) -------------------------------------------------------

# Row 25 of the threats, with what stands around it.
@pytest.mark.parametrize("site", [SAME_SITE, CROSS_SITE])
def test_another_sites_page_does_nothing_in_the_name_of_who_is_signed_in(web: Web, chromium: Chromium, evil: Process,
                                                                         site: str) -> None:
    sign_in(chromium)
    users = web.users()

    def press(page: str) -> None:
        chromium.open(site + page)
        assert chromium.driver.title == "evil"
        chromium.find("button").click()
        wait_for("it led to tg", lambda: chromium.url.startswith(BASE), 10, explain=lambda: chromium.url)
    press("/out")
    chromium.wait("Another page than tg's own wanted to sign you out")
    assert who(chromium)["user"] == "alice@example.com"
    for page in ("/plain", "/form"):
        press(page)
        said = json.loads(chromium.find("body").text)
        assert said["status"] in (401, 403), said
    press("/me")
    said = json.loads(chromium.find("body").text)
    assert said["status"] in (401, 403), said
    assert "alice" not in json.dumps(said)

    chromium.open(site + "/quiet")
    def fetched(path: str, **options: Any) -> str:
        out = chromium.driver.execute_async_script(
            "const done = arguments[2]; fetch(arguments[0], arguments[1])"
            ".then(r => r.text().then(t => done(r.type + ' ' + t)), e => done('refused'))",
            BASE + path, {"credentials": "include", **options})
        return str(out)
    assert fetched("/api/v1/me") == "refused"
    assert fetched("/api/v1/me", mode="no-cors") in ("refused", "opaque ")
    body = json.dumps({"email": "evil-3@example.com"})
    assert fetched("/api/v1/users", method="POST", body=body) == "refused"
    assert fetched("/api/v1/users", method="POST", body=body, headers={"Content-Type": "application/json"}) == "refused"
    assert fetched("/api/v1/users", method="POST", body=body, mode="no-cors") in ("refused", "opaque ")
    assert fetched("/sign-in/out", method="POST", mode="no-cors") in ("refused", "opaque ")
    assert web.users() == users
    assert who(chromium)["user"] == "alice@example.com", "and is signed in still"
    assert web.audit()[0]["action"] == "sign-in", "nothing has changed"


@pytest.mark.parametrize("site", [SAME_SITE, CROSS_SITE])
def test_another_sites_page_shows_nothing_of_it_in_a_frame(web: Web, chromium: Chromium, evil: Process, site: str) -> None:
    sign_in(chromium)
    chromium.open(site + "/frame")                       # returns when the frames have loaded, or failed to
    for frame in (0, 1):
        chromium.driver.switch_to.frame(frame)
        shown = chromium.text
        assert not any(own in shown for own in ("alice", "Sign in at", "You are", "login_needed")), shown
        chromium.driver.switch_to.default_content()
    opened = chromium.run(f"const w = window.open('{BASE}/sign-in'); window.w = w; return w !== null")
    if opened:
        wait_for("the opener is cut off", lambda: chromium.run("return window.w.closed"), 10)


# -- without a browser: what goes wrong ------------------------------------------------------------------------------------------

def test_every_answer_tells_a_browser_to_be_careful(web: Web) -> None:
    for path, status in (("/", 303), ("/sign-in", 200), ("/sign-in/start?provider=nobody", 404), ("/sign-in/callback/company", 400), ("/sign-in/callback", 404),
                         ("/sign-in/out", 405), ("/sign-in/nothing", 404), ("/api/v1/", 200), ("/api/v1/me", 401),
                         ("/style.css", 200), ("/nothing", 401)):
        got, body, headers = web.curl(path)
        assert got == status, (path, got, body)
        assert CAREFUL.items() <= headers.items(), (path, headers)
        assert "access-control-allow-origin" not in headers
        assert "<style" not in body and "style=" not in body and "<script" not in body
    preflight = ["-X", "OPTIONS", "-H", "Origin: https://evil.example.com", "-H", "Access-Control-Request-Method: GET"]
    assert web.curl("/api/v1/me", *preflight)[0] == 401


def test_who_comes_by_another_name_is_sent_to_the_right_one(web: Web) -> None:
    status, _, headers = web.curl("/sign-in/start?provider=company", "-H", "Host: elsewhere.example.com")
    assert status == 303 and headers["location"] == f"{BASE}/sign-in"


def test_what_a_session_may_say_and_how(web: Web) -> None:
    _, cookie = web.sign_in()
    def post(name: str, *words: str) -> int:
        return web.curl("/api/v1/users", "-H", f"Cookie: {SESSION}={cookie}", "-d", json.dumps({"email": name}), *words)[0]
    own, as_json = ["-H", f"Origin: {BASE}"], ["-H", "Content-Type: application/json"]
    assert post("carol@example.com", *as_json) == 403
    assert post("carol@example.com", *as_json, "-H", "Origin: https://www.example.org") == 403
    assert post("carol@example.com", *as_json, "-H", "Origin: null") == 403
    assert post("carol@example.com", *own, *as_json, "-H", "Sec-Fetch-Site: same-site") == 403
    assert post("carol@example.com", *own) == 415
    assert "carol@example.com" not in web.users()
    assert post("carol@example.com", *own, *as_json) == 201
    assert post("dora@example.com", *as_json, "-H", "Sec-Fetch-Site: same-origin") == 201
    entry = web.audit()[0]
    assert (entry["who"], entry["name"]) == ("alice@example.com, in a browser", "dora@example.com")
    assert web.me(cookie) == 200
    assert web.me(cookie, "-H", "Sec-Fetch-Site: cross-site") == 403 and web.me(cookie, "-H", "Sec-Fetch-Site: same-site") == 403
    assert web.me(cookie, "-H", "Origin: https://evil.example.com") == 403
    assert web.me(cookie, "-H", "Authorization: Bearer tg1_nonsense") == 401, "a token goes before the cookie"
    assert web.me(cookie[:-1] + ("A" if cookie[-1] != "A" else "B")) == 401 and web.me("") == 401
    socket = web.tg.state("controller") / "control.sock"
    here = web.tg.lab.internet.run(["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", socket,
                                    "http://localhost/sign-in"])
    assert here.ok().out == "404", "on the socket there are no browsers"


def test_another_sites_page_begins_no_sign_in(web: Web) -> None:
    before = web.provider.requests("/.well-known/openid-configuration")
    for site in ("cross-site", "same-site"):
        status, _, headers = web.curl("/sign-in/start?provider=company", "-H", f"Sec-Fetch-Site: {site}")
        assert (status, headers["location"]) == (303, "/sign-in") and "set-cookie" not in headers
    for path in ("/sign-in/start?provider=company", "/sign-in/callback/company?state=x&code=x"):
        assert web.curl(path, "-I")[0] == 405, "to look is to do nothing"
    assert web.provider.requests("/.well-known/openid-configuration") == before


def test_who_signs_in_anew_has_one_session(web: Web) -> None:
    web.host = web.provider.host
    b, first = web.sign_in()
    b.open(f"{BASE}/sign-in/start?provider=company")           # where he is still known
    b.expect("You are signed in as")
    second = web.cookie(b, SESSION)
    assert second not in ("", first) and web.me(second) == 200
    assert web.me(first) == 401, "nobody could sign it out any more"


def test_a_provider_may_want_a_secret(web: Web) -> None:
    web.tg.apply(policy(client=SECRET_CLIENT)).ok()
    words = " ".join(web.tg.words("controller identity-provider secret"))
    web.tg.lab.internet.run(["sh", "-c", f"echo '{SECRET}' | {words} company"]).ok()
    try:
        b, cookie = web.sign_in()
        b.expect("You are signed in as")
        assert web.me(cookie) == 200
    finally:
        web.tg.admin("identity-provider secret", "company").ok()        # of an empty standard input: there is none any more


def test_an_answer_is_taken_once_and_from_the_browser_that_asked(web: Web) -> None:
    web.host = web.tg.lab.internet
    b, cookie = web.sign_in()
    used = b.url
    assert used.startswith(f"{CALLBACK}?") and web.me(cookie) == 200
    b.open(used)
    assert b.status == 400
    b.expect("This sign-in is not known here")
    assert web.me(cookie) == 200, "and its session is as it was"

    def begin() -> tuple[str, str]:
        status, _, headers = web.curl("/sign-in/start?provider=company")
        assert status == 303
        to = urllib.parse.urlparse(headers["location"])
        asked = urllib.parse.parse_qs(to.query)
        assert asked["code_challenge_method"] == ["S256"] and asked["redirect_uri"] == [CALLBACK] and len(asked["nonce"][0]) >= 43
        value, _, more = headers["set-cookie"].partition("; ")
        assert value.startswith(f"{SIGN_IN}=") and more == "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
        return asked["state"][0], value
    state, cookie = begin()
    _, other = begin()
    assert web.curl("/sign-in/callback/company?state=wrong&code=x", "-H", f"Cookie: {cookie}")[0] == 400
    assert web.curl("/sign-in/callback/company?code=x", "-H", f"Cookie: {cookie}")[0] == 400
    for words in ([], ["-H", f"Cookie: {other}"], ["-H", f"Cookie: {SIGN_IN}="]):
        state, cookie = begin()
        status, body, _ = web.curl(f"/sign-in/callback/company?state={state}&code=x&iss={web.provider.issuer}", *words)
        assert status == 403 and "another browser" in body, body
        status, _, _ = web.curl(f"/sign-in/callback/company?state={state}&code=x&iss={web.provider.issuer}", "-H", f"Cookie: {cookie}")
        assert status == 400, "whoever has shown it may have got it from somebody"
    state, cookie = begin()
    status, body, _ = web.curl(f"/sign-in/callback/other?state={state}&code=x", "-H", f"Cookie: {cookie}")
    assert status == 403 and "another identity provider" in body, "no provider is given the code of another"
    assert web.curl(f"/sign-in/callback/company?state={state}&code=x", "-H", f"Cookie: {cookie}")[0] == 400
    asked = web.provider.requests("/token")
    for query in ("code=x", "code=x&iss=https://evil.example.com", f"code=x&error=access_denied&iss={web.provider.issuer}",
                  f"iss={web.provider.issuer}"):
        state, cookie = begin()
        status, _, headers = web.curl(f"/sign-in/callback/company?state={state}&{query}", "-H", f"Cookie: {cookie}")
        assert status in (403, 502) and "set-cookie" not in headers, query
    assert web.provider.requests("/token") == asked, "no code was shown to anybody"
    state, cookie = begin()
    status, body, _ = web.curl(f"/sign-in/callback/company?state={state}&code=x&iss={web.provider.issuer}", "-H", f"Cookie: {cookie}")
    assert status == 403 and "it does not take the code" in body, body


@pytest.mark.parametrize("lie", ["nonce", "aud", "signature", "expired", "access_token", "userinfo_sub"])
def test_what_the_provider_says_is_checked(web: Web, lie: str) -> None:
    web.host = web.provider.host
    web.provider.lie(lie)
    b, cookie = web.sign_in()
    assert b.status in (403, 502) and cookie == "", b
    b.expect("You are not signed in")


def test_who_gives_up_or_is_nobody_here_is_told_so(web: Web) -> None:
    b = web.at_provider()
    b.submit(answer="no")
    assert b.status == 403
    b.expect("the sign-in was refused there")
    b, cookie = web.sign_in("mallory")
    assert b.status == 403 and cookie == ""
    b.expect("mallory@elsewhere.example.net is no user here")
    assert "mallory@elsewhere.example.net" not in web.users()
    b, cookie = web.sign_in("bob")
    assert web.me(cookie) == 200 and "bob@example.com" in web.users()
    assert web.curl("/api/v1/audit", "-H", f"Cookie: {SESSION}={cookie}")[0] == 403, "a member's session is a member's"


def test_a_provider_that_is_down_is_said_and_asked_again_later(web: Web) -> None:
    web.provider.unavailable()
    status, body, _ = web.curl("/sign-in/start?provider=company")
    assert status == 502 and "it answers with status 503" in body, body
    web.provider.unavailable(False)
    b = web.at_provider()
    web.provider.stop()
    assert web.curl("/sign-in/start?provider=company")[0] == 502
    web.provider.start()
    b, cookie = web.sign_in()
    assert web.me(cookie) == 200


def test_a_session_ends_with_its_time_and_with_its_user(web: Web) -> None:
    _, cookie = web.sign_in()
    web.tg.admin("user update", "alice@example.com", "--to", "blocked").ok()
    try:
        assert web.me(cookie) == 401
        b, none = web.sign_in()
        assert b.status == 403 and none == ""
        b.expect("alice@example.com is blocked")
    finally:
        web.tg.admin("user update", "alice@example.com", "--to", "active").ok()
    assert web.me(cookie) == 401, "it does not come back"
    web.tg.apply(policy("10s")).ok()
    _, cookie = web.sign_in()
    assert web.me(cookie) == 200
    wait_for("the session is over", lambda: web.me(cookie) == 401, 15, 0.5)
    status, body, _ = web.curl("/api/v1/me", "-H", f"Cookie: {SESSION}={cookie}")
    assert "sign in again: " + BASE in json.loads(body)["detail"]
    assert "Sign in at company" in web.curl("/sign-in", "-H", f"Cookie: {SESSION}={cookie}")[1]


def test_a_session_outlives_the_controllers_process(web: Web) -> None:
    _, cookie = web.sign_in()
    assert web.tg.controller is not None
    web.tg.controller.kill()
    web.tg.start_controller()
    assert web.me(cookie) == 200
    status, _, headers = web.curl("/sign-in/out", "-X", "POST", "-H", f"Cookie: {SESSION}={cookie}")
    assert status == 403 and web.me(cookie) == 200
    status, _, headers = web.curl("/sign-in/out", "-X", "POST", "-H", f"Cookie: {SESSION}={cookie}", "-H", f"Origin: {BASE}")
    assert status == 303 and headers["set-cookie"] == f"{SESSION}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
    assert web.me(cookie) == 401


def test_who_begins_too_often_has_to_wait_and_nobody_else(web: Web) -> None:
    def begin(host: Any) -> Result:
        return host.run(["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", web.ca,
                         "--resolve", f"{NAME}:{PORT}:{CONTROLLER}", f"{BASE}/sign-in/start?provider=company"])
    codes = [begin(web.tg.lab.nas).ok().out for _ in range(24)]
    assert codes[:15] == ["303"] * 15 and "429" in codes, codes
    assert begin(web.tg.lab.laptop).ok().out == "303"
