"""The `cocos` command. Importing it imports neither torch nor numpy."""

from __future__ import annotations
