"""``python -m reconciler``: the same program as the ``reconciler`` command."""

from reconciler.cli.main import console

if __name__ == "__main__":
    console()
