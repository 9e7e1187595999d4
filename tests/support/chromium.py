"""A real browser in a host of the lab: Chromium without a window, driven by WebDriver.

    with Chromium(lab.laptop, folder, [certificate, …]) as b:      # it believes the keys of these certificates, and no other
        b.open("https://id.example.com/")
        b.find("button").click()
"""
from __future__ import annotations

import base64
import hashlib
import itertools
import pathlib
import subprocess
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webelement import WebElement

from support.netns import Host, wait_for

PORT = 9515
_numbers = itertools.count(1)


def pin_of(certificate: pathlib.Path) -> str:
    """The SHA-256 of a certificate's public key, in base64."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class _Inside(RemoteConnection):
    """Speaks to a chromedriver inside a host's network."""

    def __init__(self, host: Host) -> None:
        super().__init__(f"http://127.0.0.1:{PORT}", keep_alive=False)
        self._host = host

    def execute(self, command: str, params: dict[str, Any]) -> Any:
        with self._host.inside():
            return super().execute(command, params)


class Chromium:
    """One browser with a new profile, at a time in a host."""

    def __init__(self, host: Host, folder: pathlib.Path, certificates: list[pathlib.Path]) -> None:
        home = folder / f"chromium-{next(_numbers)}"
        home.mkdir()
        self.process = host.start(["chromedriver", f"--port={PORT}", "--log-level=WARNING"], "chromedriver",
                                  ready="started successfully", env={"HOME": str(home), "TMPDIR": str(home)}, deadline=30)
        options = webdriver.ChromeOptions()
        for flag in ("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--no-sandbox",                # it does not start for root with one
                     f"--user-data-dir={home}/profile",
                     "--ignore-certificate-errors-spki-list=" + ",".join(pin_of(c) for c in certificates)):
            options.add_argument(flag)
        try:
            self.driver = webdriver.Remote(command_executor=_Inside(host), options=options)
            self.driver.set_page_load_timeout(30)
            self.driver.set_script_timeout(20)
        except BaseException:
            self.process.stop()
            raise

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.driver.quit()
        finally:
            self.process.stop()

    def open(self, url: str) -> None:
        self.driver.get(url)

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.driver.execute_script("return document.body ? document.body.innerText : ''"))

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def run(self, script: str, *values: Any) -> Any:
        """What a script of the page's own would see; it is not bound by the page's CSP itself."""
        return self.driver.execute_script(script, *values)

    def wait(self, text: str, deadline: float = 20.0) -> None:
        wait_for(f"the page says {text!r}", lambda: text in self.text, deadline, 0.05, lambda: f"{self.url}:\n{self.text}")
