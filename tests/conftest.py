"""Before any test module: the package, so that third parties' telemetry is off when tests import them themselves."""

import anonymizer

assert anonymizer.__version__
