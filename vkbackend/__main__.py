"""`python -m vkbackend`: the command line."""

from vkbackend.cli import main

raise SystemExit(main())
