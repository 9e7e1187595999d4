"""An OpenID provider in the lab, https://id.example.com: the npm package oidc-provider, and the person who signs in there.

    with Provider(lab) as provider:                    # with the clients CLIENT, which is public, and SECRET_CLIENT
        … --ca-bundle provider.ca_file …               # tg's controller is told provider.issuer and CLIENT
        provider.approve(url, "alice")                 # alice's browser, on the laptop, opens the URL that tg has shown
        provider.set_claims("alice", email="alice@example.com", email_verified=False)
"""
from __future__ import annotations

import contextlib
import html.parser
import http.client
import itertools
import json
import pathlib
import re
import ssl
import subprocess
import urllib.parse
from typing import Any

from support.lab import OIDC, OIDC_NAME, Lab
from support.netns import Failed, Host, Process, wait_for

PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "e2e/node/provider.mjs"
INSTALLED = PROGRAM.parents[3] / "build/node/node_modules"
CONTROL_PORT = 9000
CLIENT, SECRET_CLIENT = "tg", "tg-confidential"
SECRET = "s3cret+of/the=tests:100%"        # RFC 6749, 2.3.1: it is form-encoded before it becomes Basic's password
ACCOUNTS: dict[str, dict[str, Any]] = {
    "alice": {"email": "alice@example.com", "email_verified": True, "name": "Alice", "groups": ["engineering", "family"]},
    "bob": {"email": "bob@example.com", "email_verified": True, "name": "Bob", "groups": []},
    "mallory": {"email": "mallory@elsewhere.example.net", "email_verified": True, "name": "Mallory", "groups": ["engineering"]},
}
_numbers = itertools.count(1)


class Provider:
    """Runs from its making to stop(), and again from start(), with the same keys, clients and accounts; what was signed in
    or asked for before is forgotten then. One at a time in a lab."""

    def __init__(self, lab: Lab, clients: list[dict[str, Any]] | None = None, accounts: dict[str, dict[str, Any]] | None = None,
                 claims_in_id_token: bool = False, interval: int | None = 1, **ttl: int) -> None:
        """Clients are metadata as in OpenID Connect's registration. Without `claims_in_id_token` email, name and groups are
        told by the userinfo endpoint alone. `interval`: the seconds between two polls that the provider asks for, and
        enforces; with None it says nothing, which means 5. `ttl`: seconds, DeviceCode=…, IdToken=…, AccessToken=…"""
        self.lab, self.host = lab, lab.internet_host("oidc", OIDC)
        self.name, self.issuer = OIDC_NAME, f"https://{OIDC_NAME}"
        self.clients = clients or [{"client_id": CLIENT}, {"client_id": SECRET_CLIENT, "client_secret": SECRET}]
        self.accounts = {name: dict(claims) for name, claims in (ACCOUNTS if accounts is None else accounts).items()}
        self.claims_in_id_token, self.interval, self.ttl = claims_in_id_token, interval, ttl
        self.root = lab.root / f"oidc-{next(_numbers)}"
        self.root.mkdir()
        self.process: Process | None = None
        self._make_certificates()
        self.start()

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_certificates(self) -> None:
        """A private CA and what it says of the provider's name."""
        (self.root / "openssl.cnf").write_text(
            "[req]\ndistinguished_name = name\n[name]\n"
            "[ca]\nbasicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n"
            "[leaf]\nbasicConstraints = critical,CA:false\nkeyUsage = critical,digitalSignature\n"
            f"extendedKeyUsage = serverAuth\nsubjectAltName = DNS:{self.name}\n"
            "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n")
        request = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                   "-nodes", "-days", "30"]
        for more in (["-subj", "/CN=A test's CA", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"],
                     ["-subj", f"/CN={self.name}", "-extensions", "leaf", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-keyout", "key.pem", "-out", "cert.pem"]):
            subprocess.run([*request, *more], cwd=self.root, check=True, capture_output=True)
        self.ca_file = self.root / "ca.pem"

    # -- start and stop -----------------------------------------------------------------------------------------------------
    def start(self) -> Process:
        """Its discovery document is served once this returns."""
        if not INSTALLED.exists():
            raise Failed("there is no OpenID provider to test with: run scripts/setup --tests")
        config = self.root / "config.json"
        config.write_text(json.dumps({
            "issuer": self.issuer, "listen": {"host": OIDC, "port": 443}, "key": f"{self.root}/key.pem",
            "cert": f"{self.root}/cert.pem", "keys": f"{self.root}/keys.json", "clients": self.clients,
            "accounts": self.accounts, "control": {"port": CONTROL_PORT}, "ttl": self.ttl, "interval": self.interval,
            "conformIdTokenClaims": not self.claims_in_id_token}))
        process = self.process = self.host.start(["node", PROGRAM, config], "provider", env={"NODE_ENV": "production"})
        def up() -> bool:
            if not process.alive():
                raise Failed(f"the provider ended with {process.popen.returncode}:\n{process.text()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return bool(self.discovery()["issuer"])
            return False
        try:
            wait_for("the provider says who it is", up, 20, 0.05, process.text)
        except BaseException:
            process.kill()
            raise
        return process

    def stop(self) -> None:
        if self.process and self.process.alive():
            self.process.stop()

    def discovery(self) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with self.host.socket(timeout=5) as plain:
            plain.connect((OIDC, 443))
            with context.wrap_socket(plain, server_hostname=self.name) as s:
                connection = http.client.HTTPConnection(self.name)
                connection.sock = s
                connection.request("GET", "/.well-known/openid-configuration", headers={"Connection": "close"})
                found: dict[str, Any] = json.loads(connection.getresponse().read())
                return found

    # -- what it does from now on -------------------------------------------------------------------------------------------
    def rotate_key(self) -> None:
        """Signs with new keys from now on, and does not publish the old ones any longer."""
        self._control("POST", "/rotate")

    def set_claims(self, account: str, **claims: Any) -> None:
        """What an account's claims are from now on, all of them: what is not named is gone. `sub` is the account's name
        unless it is named. A new account is made."""
        self.accounts[account] = claims
        self._control("POST", "/account", name=account, claims=claims)

    def remove_account(self, account: str) -> None:
        del self.accounts[account]
        self._control("POST", "/account", name=account, claims=None)

    def unavailable(self, now: bool = True) -> None:
        """It answers 503 to everything."""
        self._control("POST", "/mode", now="unavailable" if now else "up")

    def silent(self, now: bool = True) -> None:
        """It takes connections and requests, and answers none."""
        self._control("POST", "/mode", now="silent" if now else "up")

    def lie(self, kind: str | None) -> None:
        """One thing is wrong from now on, until None. What ID tokens say: aud, auds, iss, expired, future, nonce, nosub,
        noexp. Who signed them: none, signature, key, kid, hs256. Else: no_id_token, access_token, garbage, userinfo_sub,
        discovery_issuer."""
        self._control("POST", "/lie", kind=kind)

    def requests(self, path: str) -> int:
        """How many there were for a path, such as /token, since the start."""
        return int(self._control("GET", "/requests").get(path, 0))

    def _control(self, method: str, path: str, **said: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", CONTROL_PORT)
        with self.host.socket() as connection.sock:
            connection.sock.connect(("127.0.0.1", CONTROL_PORT))
            connection.request(method, path, json.dumps(said))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise Failed(f"the provider's control: {answer}")
        return answer

    # -- the person ---------------------------------------------------------------------------------------------------------
    def approve(self, url: str, account: str, code: str | None = None, host: Host | None = None) -> None:
        """A person opens a device code's URL, enters the `code` if it is not in the URL, signs in and consents. The
        browser is new each time, and runs on the laptop unless another host is named."""
        browser = self._confirmed(url, code, host)
        browser.submit(account=account, answer="yes")
        browser.expect("Do you consent?")
        browser.submit(answer="yes")
        browser.expect("Sign-in Success")

    def refuse(self, url: str, account: str | None = None, code: str | None = None, host: Host | None = None) -> None:
        """As approve(), but the person gives up: without an `account` where it is asked for, else at the consent."""
        browser = self._confirmed(url, code, host)
        if account is not None:
            browser.submit(account=account, answer="yes")
            browser.expect("Do you consent?")
        browser.submit(answer="no")
        browser.expect("The Sign-in request was interrupted")

    def _confirmed(self, url: str, code: str | None, host: Host | None) -> Browser:
        browser = self.browser(host)
        browser.open(url)
        if code is not None:
            browser.expect("Enter the code displayed on your device")
            browser.submit(user_code=code)
        else:
            browser.expect("Submitting Callback")                        # a page that submits itself
            browser.submit()
        browser.expect("Confirm Device")
        browser.submit()
        browser.expect("Who are you?")
        return browser

    def browser(self, host: Host | None = None) -> Browser:
        return Browser(host or self.lab.laptop, self.ca_file, self.root / f"cookies-{next(_numbers)}")


class Browser:
    """curl in a host, with a jar of cookies: it follows redirects, and submits the form of the page that it is on."""

    def __init__(self, host: Host, ca_file: pathlib.Path, jar: pathlib.Path) -> None:
        self.host, self.ca_file, self.jar = host, ca_file, jar
        self.url = self.page = ""
        self.status = 0

    def open(self, url: str, form: dict[str, str] | None = None) -> str:
        words = ["curl", "--silent", "--show-error", "--location", "--max-time", "10", "--cacert", self.ca_file, "--cookie",
                 self.jar, "--cookie-jar", self.jar, "--header", "Accept: text/html", "--write-out",
                 "\n%{http_code} %{url_effective}", url]
        if form is not None:
            words += ["--data", urllib.parse.urlencode(form)]
        self.page, _, last = self.host.run(words).ok().out.rpartition("\n")
        status, self.url = last.split(" ", 1)
        self.status = int(status)
        return self.page

    def submit(self, **typed: str) -> str:
        """Submits the page's only form: what it holds, and what is typed and pressed."""
        form = _Form(self.page)
        if form.action is None:
            raise Failed(f"{self} has no form")
        for name in typed:
            if name not in form.fields and name not in form.buttons:
                raise Failed(f"{self} has no {name}")
        return self.open(urllib.parse.urljoin(self.url, form.action), {**form.fields, **typed})

    def expect(self, text: str) -> None:
        if text not in self.page:
            raise Failed(f"{text!r} is not on {self}")

    def __str__(self) -> str:
        return f"the page {self.url} ({self.status}):\n{re.sub(r'(?s)<style>.*?</style>', '', self.page)}"


class _Form(html.parser.HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.buttons: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        name = found.get("name") or ""
        if tag == "form":
            self.action = found.get("action") or ""
        elif tag == "input" and name:
            self.fields[name] = found.get("value") or ""
        elif tag == "button" and name:
            self.buttons.add(name)
