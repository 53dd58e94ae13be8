"""Import Keras without TensorFlow's greeting on stderr.

Its C++ libraries greet before any setting can stop them, and a notebook would
keep the greeting for ever. Warnings and errors are passed on, but for one:
TensorFlow takes a lesson with several models for a loop that compiles anew.
"""

import contextlib
import logging
import os
import re
import sys
import tempfile

GREETING = re.compile(rb"I\d{4} |WARNING: All log messages before absl")


@contextlib.contextmanager
def _without_greeting():
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            captured.seek(0)
            for line in captured:
                if not GREETING.match(line):
                    os.write(2, line)
            os.close(stderr)


def _is_no_false_alarm(record):
    return "triggered tf.function retracing" not in record.getMessage()


with _without_greeting():
    import keras  # noqa: F401

logging.getLogger("tensorflow").addFilter(_is_no_false_alarm)
