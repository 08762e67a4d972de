"""When: one module per DVC stage, each load / call / save."""

from pipeline import process

process.configure_environment()
