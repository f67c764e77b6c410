# The same as dev.py, for those who type make: `make run`, `make test`, `make check`, `make bench`, `make setup`.
.PHONY: run test check bench setup
run test check bench setup:
	python3 dev.py $@
