"""`python -m clinfit` is `clinfit`."""

from clinfit.cli import main

if __name__ == "__main__":
    main()
