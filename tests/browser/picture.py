"""Makes the README's picture: the first screen of the page of the demo's job."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser.browsing import browsing

PICTURE = Path(__file__).parents[2] / "docs" / "figures" / "job.png"
_FIRST_SCREEN = (1200, 1180)


def main() -> None:
    """Run the demo, take a picture of its page, and end it."""
    command = [sys.executable, "-m", "rheostat", "demo", "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo, tempfile.TemporaryDirectory() as home:
        assert demo.stdout is not None
        try:
            pages = (re.search(r"until Ctrl-C: (http://\S+)", line) for line in demo.stdout)
            page = next(found[1] for found in pages if found)
            with browsing(Path(home)) as browser:
                browser.look_at(page, _FIRST_SCREEN)
                PICTURE.parent.mkdir(exist_ok=True)
                PICTURE.write_bytes(browser.driver.get_screenshot_as_png())
        finally:
            demo.terminate()


if __name__ == "__main__":
    main()
