"""The `cocos` command. Importing it imports neither torch nor numpy."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

import cocoscli
from cocoscli import console
from cocoscli.commands import weights
from cocoscli.commands.demo import demo
from cocoscli.commands.prepare import prepare
from cocoscli.commands.recipes import recipes
