"""The program of a batch: ``program.py <URI of the job directory>``; its Python path has the payload."""

# Any Python can read this, so that one that is too old says so.
import sys

if sys.version_info < (3, 8):  # noqa: UP036
    sys.exit(
        "Stepwell needs Python 3.8 or later for the driver; this is " + sys.version.split()[0] + ", " + sys.executable
    )

from stepwell.payload.batch.main import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
