"""Structured logs: one JSON object per line on stderr; constant event name plus fields."""

from __future__ import annotations

import logging
import sys

import structlog

from mail_runtime import tracing


def configure(service: str, level: str = "info") -> None:
    """Call once at start. Every line carries `service`, and `trace_id` where work belongs to a trace."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            tracing.add_trace_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger: `log.info("event", field=value)`."""
    return structlog.get_logger()  # type: ignore[no-any-return]
