# Everything installs into .venv by itself: `make demo` and `make test` are all there is to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := --config configs/demo.yaml
EXAMPLE := runs/demo/example

.PHONY: demo collapse strangers test attack torture lint format bench gpu exact clean

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,rooms,hdf5,figures,metrics,trackio,demo,sweep]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'resemblyzer>=0.1.4,<1'
	touch $@

# The whole experiment on the bundled speech; a second call goes on where the first one stopped.
demo: $(INSTALLED)
	if [ -e runs/demo/checkpoints ]; then $(BIN)/hifitse resume $(DEMO); else $(BIN)/hifitse train $(DEMO); fi
	$(BIN)/hifitse select-best $(DEMO) --metric tp_si_sdr
	$(BIN)/hifitse data preview $(DEMO) -n 1 -o $(EXAMPLE)
	$(BIN)/hifitse extract $(DEMO) $(EXAMPLE)/scene_00000/mixture.wav $(EXAMPLE)/scene_00000/reference.wav \
		--target $(EXAMPLE)/scene_00000/target.wav -o $(EXAMPLE)/scene_00000/extracted.wav
	$(BIN)/hifitse diagnose demo
	$(BIN)/hifitse report demo

# The failure that hifitse was born from, and its cure: six objectives, three seeds, a table and a figure.
collapse: $(INSTALLED)
	$(BIN)/python benchmarks/collapse.py --out runs/collapse

# Voices never heard: settings that fall and settings that hold, three seeds. make strangers SPEECH="FOLDER ...": two hours.
strangers: $(INSTALLED)
	$(BIN)/python benchmarks/strangers.py --speech $(SPEECH) --out runs/strangers

# One thread each: busy processes with several take more than twice the time.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

# 1 500 odd configurations, records, models and files, 280 kills and signals: a quarter of an hour. `make test` has some.
attack: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m attack -rP

# A thousand kills, and signals at random moments: an hour.
torture: $(INSTALLED)
	$(BIN)/pytest -m torture -rP

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# On a machine with a GPU: every network by micro-batch, compiled and not, in ten minutes; then train, repeat, ranks, smoke and
# extract. Tables of speed and memory, a report of pass or fail.
gpu: $(INSTALLED)
	rm -rf runs/gpu
	$(BIN)/python benchmarks/gpu_models.py --out runs/gpu/models
	$(BIN)/python benchmarks/gpu.py --out runs/gpu

# Speed and memory on this machine, an hour: tables here, runs/bench/*.json.
BENCHMARKS := startup step throughput extraction streaming memory loader transport stores full_model import_checkpoint saving
bench: $(INSTALLED)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --out runs/bench/$$name.json || exit 1; done

# Does this checkout compute what another revision computes? make exact AGAINST=main
exact: $(INSTALLED)
	rm -rf runs/exactness && mkdir -p runs/exactness && git worktree prune
	git worktree add --force --detach runs/exactness/other $(AGAINST)
	$(BIN)/python benchmarks/exactness.py record runs/exactness/other runs/exactness/other.json
	$(BIN)/python benchmarks/exactness.py record . runs/exactness/here.json
	git worktree remove --force runs/exactness/other
	$(BIN)/python benchmarks/exactness.py compare runs/exactness/other.json runs/exactness/here.json

clean:
	rm -rf $(VENV) build *.egg-info
