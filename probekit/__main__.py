"""`python -m probekit`: the same as the `probekit` command."""

from probekit.cli import main

if __name__ == "__main__":
    main()
