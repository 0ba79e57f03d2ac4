"""Settings that tracing needs."""

import logging

import jaxtyping
import pytest


@pytest.fixture(scope="module", autouse=True)
def _tracing():
    """Checking a symbolic size would make it constant, and torch writes a trace once anything listens to its log."""
    log = logging.getLogger("torch.__trace")
    level = log.level
    log.setLevel(logging.CRITICAL)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    log.setLevel(level)
