# SPDX-License-Identifier: MIT
"""The operator's view: status, consoles, control."""
