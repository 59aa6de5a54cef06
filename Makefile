# make demo   redraw the example pictures; the result lands in demo-output/
# make test   lint, types, documentation and tests
# make docs   documentation as pages, in site/
# make clean  remove the demo's results (the environment stays)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WHEELS := $(VENV)/photographs
PIP    := $(BIN)/python -m pip install -q --disable-pip-version-check

# The builder advertises its successor at every start.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.DEFAULT_GOAL := demo
.PHONY: demo test docs clean
.DELETE_ON_ERROR:

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Editable, so that a change of the source needs no new installation; only a change of the dependencies does.
# The demo's photographs lie in the wheels of two packages that only hub presets need, so these are fetched and not
# installed. opencv-python needs the system's libGL; where that is missing, the headless build of the same version takes
# its place.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing anonymizer and its dependencies into $(VENV) (the first time takes a minute or two)"
	$(PIP) -e .
	@$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps -d $(WHEELS) ultralytics insightface
	@$(BIN)/python -c "import cv2" 2>/dev/null || { \
	  echo "libGL is missing: switching to opencv-python-headless"; \
	  $(PIP) --force-reinstall --no-deps opencv-python-headless; \
	  $(BIN)/python -c "import cv2"; }
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/python examples/gather.py demo-input --wheels $(WHEELS)
	@$(BIN)/anonymizer run demo-input demo-output --seed 7 --overwrite || [ $$? -eq 3 ]
	@echo "Pictures: demo-output/images"
	@echo "Report:   demo-output/report.html"

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MKDOCS)
	$(BIN)/python -m pytest

docs: $(VENV)/.installed-test
	$(MKDOCS)

clean:
	rm -rf demo-input demo-output site
