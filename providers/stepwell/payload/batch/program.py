"""The program of a batch: ``program.py <URI of the job directory>``. It brings the payload along: one file to fetch."""

# Any Python can read this, so that one that is too old says so.
import sys

if sys.version_info < (3, 8):  # noqa: UP036
    sys.exit(
        "Stepwell needs Python 3.8 or later for the driver; this is " + sys.version.split()[0] + ", " + sys.executable
    )

import base64  # noqa: E402
import io  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
import zipfile  # noqa: E402

#: The payload's archive, in base64; it is put here when the program is sent.
PAYLOAD = ""

# Only we can read it; in the container's own folder, which YARN clears away, or a temporary one.
folder = tempfile.mkdtemp(prefix="stepwell-", dir=os.getcwd() if os.environ.get("CONTAINER_ID") else None)
roof = os.path.join(folder, "payload")
with zipfile.ZipFile(io.BytesIO(base64.b64decode(PAYLOAD))) as packed:
    packed.extractall(roof)  # noqa: S202 - our own
sys.path.insert(0, roof)

from stepwell.payload.batch.main import main  # noqa: E402

sys.exit(main(sys.argv[1:], folder))
