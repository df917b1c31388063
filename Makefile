# make demo   set up, and run the bundled models on the bundled samples
# make test   set up, and run every check that needs neither a GPU nor long minutes
# make slow   the checks that take long: figures of the demo models on 20 phantoms each
# make pictures   the pictures in the README, from the demo

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# nnU-Net checks the data sets we export. Its own dependencies (torchvision through timm) would bring
# a second torch with CUDA, so those which that check needs are in the extra "test".
NNUNET := nnunetv2 dynamic_network_architectures acvl_utils batchgenerators batchgeneratorsv2

.PHONY: demo test lint slow pictures clean

demo: $(VENV)/run.stamp
	$(BIN)/meddetect demo --out out/demo --overwrite

test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs -m "not slow and not gpu"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m "slow and not gpu"

pictures: demo $(VENV)/test.stamp
	@mkdir -p Resources/Screenshots
	cp out/demo/demo-chest-ct/montage.png Resources/Screenshots/demo-chest-ct.png
	cp out/demo/demo-brain-mr/montage.png Resources/Screenshots/demo-brain-mr.png
	$(BIN)/python -m Testing.harness.picture --out Resources/Screenshots/panel.png

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error[python]: Python 3.11 or newer is needed; $$($(PYTHON) --version); give make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "error[venv]: this Python cannot make virtual environments; $(PYTHON); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[run,scene]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(PIP) torch
	$(PIP) --editable '.[run,scene,train,test]'
	$(PIP) --no-deps $(NNUNET)
	@touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
