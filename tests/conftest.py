# SPDX-License-Identifier: MIT
"""What all tests share: which of them are collected here."""

from tests.support.vectors import CAPTURED

#: Tests over captured messages read them where they lie; without that folder there is nothing to collect.
collect_ignore_glob = [] if CAPTURED.is_dir() else ["**/test_*_captured.py"]
