# SPDX-License-Identifier: MIT
"""The configuration language: siproxd.conf, its directives, and what they mean to the program."""
