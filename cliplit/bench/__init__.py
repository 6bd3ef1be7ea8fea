"""Benchmarks: ``cliplit bench quality`` puts models, baselines, upper bounds and peers' outputs into one table."""
