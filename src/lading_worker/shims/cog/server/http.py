"""``python -m cog.server.http`` starts Cog's server in Cog's images. Here the server is Lading's, outside of the model's environment."""

import sys

if __name__ == "__main__":
    sys.stderr.write(
        "error: Cog's server is not in the model's environment: Lading serves the project from outside of it.\n"
        "  fix: run `lading serve` in the project's folder; an image of `lading build` serves by itself\n"
    )
    sys.exit(2)
