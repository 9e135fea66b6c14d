"""`python -m phasecore`: the command line."""

from phasecore.cli import main

if __name__ == "__main__":
    main(prog_name="phasecore")
