"""`python -m worldmodel.cli`."""

from worldmodel.cli.main import main

if __name__ == "__main__":
    main()
