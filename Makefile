# `make demo` and `make test` need Python 3.11 or later, git and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test stress gpu lint audit clean

demo: $(READY)
	$(BIN)/python demo.py $(DEMO_FLAGS)

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal

# What takes minutes: trees broken, trainings, grids and clusters killed, again and again.
stress: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-extras.txt
	$(BIN)/python -m pytest --stress -m stress -n auto --dist worksteal --durations=20

# What only a CUDA GPU can show, and how long steps, starts and several trainings at once take there: under ten
# minutes. Says what it will do, and where there is no GPU that alone.
gpu: $(READY)
	@echo "make gpu: every stage learns and its steps are one graph; graphs train as plain steps do; bf16; pixels and"
	@echo "outputs that are held; copies beside the training; resuming; a grid's trainings one after the other; a full GPU."
	@echo "Then, on the tiny kitchen: milliseconds a step and an evaluation, the loop's own cost, seconds from a command"
	@echo "to its first step, several trainings at once. The four rows of the first table, from command to report:"
	@echo "  python -m benchmarks.run --device cuda --tree GTEA61 --batch 32 --lengths 7 --tables rows"
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	  $(BIN)/python -m pytest -m gpu tests/gpu --durations=5 && tree=$$(mktemp -d) \
	  && $(BIN)/python -m data.synthetic --out $$tree/kitchen --preset tiny \
	  && $(BIN)/python -m benchmarks.run --device cuda --tree $$tree/kitchen --batch 32 --lengths 7 \
	    --tables steps evaluation loop start together; \
	  status=$$?; rm -rf "$$tree"; exit $$status; \
	else echo "torch sees no CUDA GPU here, so none of this can be tested or measured"; fi

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-logo

# What is known to be vulnerable among the installed packages; says so where it can't look.
audit: $(READY)
	@.ci/audit $(BIN)/python

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv || { echo "error: the venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@echo "installing into .venv (torch takes about 5 GB)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/python -c 'import cv2' \
	  || { echo "error: OpenCV misses a system library; on Debian: apt-get install libgl1 libglib2.0-0"; exit 2; }
	@touch $(READY)
