"""What importing `utils.vae` changes of this process, all of it.

- TensorFlow's C++ libraries greet on stderr at import, before any setting can stop
  them, and a notebook would keep the greeting for ever: it is held back, and what they
  would log later is limited to errors. Warnings and errors are passed on, but for one:
  TensorFlow takes a lesson with several models for a loop that compiles anew.
- The scratch memory of matrix products comes and goes at every step. Unless told to
  keep some, glibc may hand it back to the system each time, and the page faults that
  follow were measured to take a third of a step. Here it is told, as it is too late
  once threads have started.
"""

import contextlib
import ctypes
import logging
import os
import re
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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

M_TOP_PAD = -2
with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
    ctypes.CDLL(None).mallopt(M_TOP_PAD, 128 * 2**20)
