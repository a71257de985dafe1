"""An application that writes all the time, in the old shape or the new one.

It knows nothing of contraflow. What it knows of the move is the text of the refusal: it tries
again while its table is fenced, and goes to the other end when the refusal says who has authority.

usage: app.py seed CONFIG | app.py write CONFIG INDEX
"""

import json
import os
import random
import re
import sqlite3
import sys
import time

import phonebook
import shop
from unwanted import Unwanted

APPS = {"phonebook": phonebook, "shop": shop}
REFUSED = re.compile(r"contraflow CF0302: .*\(side (\w+)")
MOVED = re.compile(r"authority is with side (\w+)")


class Writer:
    def __init__(self, config, index):
        self.config, self.index = config, index
        self.dir = config["dir"]
        self.app = APPS[config["app"]]
        self.random = random.Random(config["seed"] * 1000 + index)
        self.side = "old"
        self.db = {}
        self.log = open(self.path(f"acked-{index}"), "a", encoding="utf-8")
        self.refused = 0
        self.model = self.app.Model(self, index)

    def path(self, name):
        return os.path.join(self.dir, name)

    def connection(self):
        if self.side not in self.db:
            path = self.config[self.side]
            db = sqlite3.connect(path, timeout=30, isolation_level=None)
            db.execute("pragma foreign_keys = on")
            db.execute("pragma synchronous = normal")
            self.db[self.side] = db
        return self.db[self.side]

    def transaction(self, work):
        """Runs `work` until it is committed; says what it changed, or None if it gave up."""
        while True:
            db = self.connection()
            try:
                db.execute("begin immediate")
                changes = work(db, self.app.SHAPES[self.side](self.config))
                db.execute("commit")
                return changes
            except Unwanted:
                db.execute("rollback")
                return None
            except sqlite3.Error as error:
                if db.in_transaction:
                    db.execute("rollback")
                if not self.follow(str(error)):
                    raise

    def follow(self, text):
        """What a refusal asks of the application."""
        if "locked" in text:
            return True
        if not REFUSED.search(text):
            return False
        self.refused += 1
        moved = MOVED.search(text)
        if moved:
            self.side = moved.group(1)
        elif "fenced" in text:
            time.sleep(0.005)
        else:
            return False
        return True

    def acknowledge(self, changes):
        changes["side"] = self.side
        self.log.write(json.dumps(changes) + "\n")
        self.log.flush()

    def idle(self):
        """Stands still while somebody looks; False when the day is over."""
        while True:
            if os.path.exists(self.path("stop")):
                return False
            try:
                with open(self.path("pause"), encoding="utf-8") as file:
                    token = file.read()
            except FileNotFoundError:
                return True
            if token:
                replace(self.path(f"idle-{self.index}"), f"{token} {self.side} {self.refused}")
            time.sleep(0.005)

    def run(self):
        done = 0
        while self.idle():
            work = self.model.pick(self.random)
            changes = self.transaction(work)
            if changes is not None:
                self.model.take(changes)
                self.acknowledge(changes)
                done += 1
                if done % 20 == 0:
                    replace(self.path(f"done-{self.index}"), str(done))
            time.sleep(self.config["pause_s"])


def replace(path, text):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def seed(config):
    app = APPS[config["app"]]
    for side in ("old", "new"):
        db = sqlite3.connect(config[side], isolation_level=None)
        db.execute("pragma journal_mode = wal")
        if side == "old":
            db.execute("begin")
            app.create_old(db)
            app.fill(db, config, random.Random(config["seed"]))
            db.execute("commit")
        elif config["premade"]:
            app.create_new(db)
        db.close()
    if not config["premade"] and config["new"] != config["old"]:
        os.remove(config["new"])


def main():
    verb, path = sys.argv[1:3]
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if verb == "seed":
        return seed(config)
    index = int(sys.argv[3])
    try:
        return Writer(config, index).run()
    except Exception as error:
        replace(os.path.join(config["dir"], f"failed-{index}"), repr(error))
        raise


if __name__ == "__main__":
    main()
