# Each target is a plain script in scripts/ that runs without make.
.PHONY: help demo test lint bench docs
help:
	@echo "make demo   set everything up, index a few photographs, ask three questions"
	@echo "make test   run every test"
	@echo "make lint   style, types, generated docs"
	@echo "make bench  measure everything, one table and plots; keep the machine otherwise idle"
	@echo "make docs   write docs/cli.md"
demo test lint bench docs:
	@sh scripts/$@
