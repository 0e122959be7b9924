# Each target is a plain script in scripts/ that runs without make.
.PHONY: help demo test lint bench docs fuzz torture
help:
	@echo "make demo   set everything up, index a few photographs, ask three questions"
	@echo "make test   run every test"
	@echo "make lint   style, types, generated docs"
	@echo "make bench  measure everything, one table and plots; keep the machine otherwise idle"
	@echo "make docs   write docs/cli.md"
	@echo "make torture  put every fault into real runs, again and again; under 20 minutes"
	@echo "make fuzz   feed every reader with bytes that nobody wrote for it, two minutes each"
demo test lint bench docs fuzz torture:
	@sh scripts/$@
