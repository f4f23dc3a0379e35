"""`python -m harness`: the console script, where it is not on PATH."""

from harness.cli import main

if __name__ == "__main__":
    main()
