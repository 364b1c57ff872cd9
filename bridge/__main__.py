"""``python -m bridge`` is the console script ``lens-bridge``."""

from bridge.cli.main import main

if __name__ == "__main__":
    main()
