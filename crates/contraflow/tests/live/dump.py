"""Prints everything in a file as SQL.

usage: dump.py FILE
"""

import sqlite3
import sys

for line in sqlite3.connect(sys.argv[1], timeout=30).iterdump():
    print(line)
