"""Pages as a browser shows them: headless Chromium, steered by its driver, both Debian packages."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_STATE = """return {
    "width": document.documentElement.scrollWidth,
    "images": [...document.images].map((image) => image.complete ? image.naturalWidth : 0),
    "seconds": [...document.querySelectorAll("audio")].map((player) => player.duration),
    "errors": [...document.querySelectorAll("audio")].filter((player) => player.error).length,
    "background": getComputedStyle(document.body).backgroundColor,
    "line": getComputedStyle(document.querySelector("svg path[style*='--series-0']")).stroke,
}"""
_MOST_SECONDS = 20


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Yield a Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: webdriver.Chrome, page: Path, width: int, scheme: str) -> dict[str, Any]:
    """Open a page, and return what it is like once all of it is there; ``log`` is the console's."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get(page.absolute().as_uri())
    end = time.monotonic() + _MOST_SECONDS
    while True:
        state: dict[str, Any] = driver.execute_script(_STATE)
        if (all(state["images"]) and all(state["seconds"])) or state["errors"] or time.monotonic() > end:
            return state | {"log": driver.get_log("browser")}
        time.sleep(0.1)
