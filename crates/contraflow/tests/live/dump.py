"""Prints a file as SQL: all of it, or without what contraflow keeps there.

usage: dump.py FILE whole|theirs
"""

import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=30)
for line in db.iterdump():
    if sys.argv[2] == "whole" or "_contraflow_" not in line:
        print(line)
