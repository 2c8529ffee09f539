"""`python -m partner_auth`: the command line, where no script was installed."""

import sys

from partner_auth.cli import main

if __name__ == "__main__":
    sys.exit(main())
