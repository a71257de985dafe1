"""Reads both ends with plain SQL and says whether they hold the same, by its own reading of the
change. Shares no code with the engine or the application.

usage: auditor.py CONFIG AUTHORITY

Prints one JSON object. `divergent` are keys whose rows differ, `unknown` rows that could not be
read, `lost` what a writer had acknowledged and is not there.
"""

import hashlib
import json
import os
import sqlite3
import sys


def connect(path):
    if not os.path.exists(path):
        return None
    return sqlite3.connect(path, timeout=30, isolation_level=None)


def has(db, table):
    return db is not None and bool(
        db.execute("select 1 from sqlite_schema where name = ?", (table,)).fetchone())


def digest(rows):
    text = json.dumps(sorted(rows.items()), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Phonebook:
    probe = {"old": "update phonebook set seq = seq where id = 0",
             "new": "update contacts set seq = seq where id = 0"}
    tables = {"old": ["phonebook"], "new": ["contacts"]}

    def old(self, db, unknown):
        rows = {}
        for (id, owner, tag, amount, writer, seq, *slots) in db.execute(
                "select id, owner, tag, amount, writer, seq, contact1_name, contact1_num, "
                "contact2_name, contact2_num from phonebook"):
            contacts = [[name, number] for name, number in (slots[:2], slots[2:])
                        if name not in (None, "") or number not in (None, "")]
            rows[id] = {"person": owner, "tag": tag, "amount": amount, "writer": writer,
                        "seq": seq, "contacts": contacts}
        return rows

    def new(self, db, unknown):
        rows = {}
        for (id, person, contacts, tag, amount, writer, seq, count) in db.execute(
                "select id, person, contacts, tag, amount, writer, seq, count from contacts"):
            try:
                items = json.loads(contacts)
                full = [[i.pop("name", None), i.pop("phoneNumber", None), i] for i in items]
            except (ValueError, AttributeError, TypeError):
                unknown.append(id)
                continue
            if count != len(full):
                unknown.append(id)
            rows[id] = {"person": person, "tag": tag, "amount": amount, "writer": writer,
                        "seq": seq, "full": full}
        return rows

    def shown(self, row):
        """What both shapes can hold: the first two contacts, without notes."""
        if "full" not in row:
            return row
        rest = {key: value for key, value in row.items() if key != "full"}
        return rest | {"contacts": [[name, number] for name, number, _ in row["full"][:2]]}

    def promised(self, row, authority):
        """A row as its writer logged it, in the form that this side shows."""
        contacts = row["contacts"]
        if authority == "old":
            return dict(row, contacts=[[name, number] for name, number, _ in contacts[:2]])
        full = [[name, number, {"note": note} if note else {}] for name, number, note in contacts]
        rest = {key: value for key, value in row.items() if key != "contacts"}
        return rest | {"full": full}

    def sums(self, rows):
        return sum(row["amount"] for row in rows.values())


class Shop:
    probe = {"old": "update customers set seq = seq where id = 0",
             "new": "update clients set seq = seq where id = 0"}
    tables = {"old": ["customers", "orders", "lines"], "new": ["clients", "purchases", "items"]}
    sql = {
        "old": ("select id, name, email, writer, seq from customers",
                "select id, customer_id, state, total from orders",
                "select order_id, no, sku, price from lines"),
        "new": ("select id, full_name, email, writer, seq from clients",
                "select id, client_id, status, total from purchases",
                "select purchase_id, no, product, price from items"),
    }

    def read(self, db, unknown, side):
        customers, orders, lines = ([row for row in db.execute(sql)] for sql in self.sql[side])
        rows = {id: {"name": name, "email": email, "writer": writer, "seq": seq, "orders": {}}
                for id, name, email, writer, seq in customers}
        found = {}
        for id, customer, state, total in orders:
            found[id] = {"state": state, "lines": {}}
            if customer not in rows:
                unknown.append(["order without a customer", id])
                continue
            rows[customer]["orders"][str(id)] = found[id]
        for order, no, sku, price in lines:
            if order not in found:
                unknown.append(["line without an order", order])
                continue
            found[order]["lines"][str(no)] = [sku, price]
        for id, _, _, total in orders:
            if total != sum(price for _, price in found[id]["lines"].values()):
                unknown.append(["total is not the sum", id])
        return rows

    def old(self, db, unknown):
        return self.read(db, unknown, "old")

    def new(self, db, unknown):
        return self.read(db, unknown, "new")

    def shown(self, row):
        return row

    def promised(self, row, authority):
        return row

    def sums(self, rows):
        return None


APPS = {"phonebook": Phonebook, "shop": Shop}


def read_side(app, config, side):
    """Rows of one side in one read transaction, or None when its tables are gone."""
    db = connect(config[side])
    if not all(has(db, table) for table in app.tables[side]):
        return None
    unknown = []
    db.execute("begin")
    rows = getattr(app, side)(db, unknown)
    problems = [row[0] for row in db.execute("pragma integrity_check") if row[0] != "ok"]
    orphans = sum(len(db.execute(f"pragma foreign_key_check({table})").fetchall())
                  for table in app.tables[side])
    counts = [db.execute(f"select count(*) from {table}").fetchone()[0]
              for table in app.tables[side]]
    sequences = {}
    if has(db, "sqlite_sequence"):
        sequences = dict(db.execute("select name, seq from sqlite_sequence"))
    db.execute("rollback")
    shown = {id: app.shown(row) for id, row in rows.items()}
    return {"rows": rows, "shown": shown, "unknown": unknown, "problems": problems,
            "orphans": orphans, "counts": counts,
            "sequences": [sequences.get(table) for table in app.tables[side]]}


def accepts_writes(app, config, side):
    db = connect(config[side])
    if not all(has(db, table) for table in app.tables[side]):
        return False
    try:
        db.execute("begin immediate")
        db.execute(app.probe[side])
        return True
    except sqlite3.Error as error:
        if "contraflow CF0302" not in str(error):
            raise
        return False
    finally:
        if db.in_transaction:
            db.execute("rollback")


def acknowledged(config):
    """The last acknowledged row of every key, its writer, and the count of the shared row."""
    rows, hot, total = {}, 0, 0
    for writer in range(config["writers"]):
        path = os.path.join(config["dir"], f"acked-{writer}")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            for line in file:
                if not line.endswith("\n"):
                    continue
                entry = json.loads(line)
                total += 1
                hot += entry.get("hot", 0)
                for id, row in entry["set"]:
                    rows[id] = None if row is None else dict(row, writer=writer)
    return rows, hot, total


def lost(app, config, authority, side):
    rows, hot, total = acknowledged(config)
    missing = []
    for id, row in rows.items():
        there = side["rows"].get(id)
        if (row is None) != (there is None):
            missing.append([id, "is there" if row is None else "is gone"])
        elif row is not None and app.promised(row, authority) != there:
            missing.append([id, app.promised(row, authority), there])
    if side["rows"][0]["seq"] != hot:
        missing.append([0, hot, side["rows"][0]["seq"]])
    # What nobody wrote must not have appeared.
    known = set(rows) | set(range(config["rows"] + 1))
    missing += [[id, "from nowhere"] for id in side["rows"] if id not in known]
    return missing, total


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    authority = sys.argv[2]
    app = APPS[config["app"]]()
    sides = {side: read_side(app, config, side) for side in ("old", "new")}
    report = {"divergent": [], "unknown": [], "problems": [], "orphans": 0}
    for name, side in sides.items():
        report[name] = side and {
            "rows": side["counts"], "digest": digest(side["shown"]),
            "sum": app.sums(side["shown"]), "sequences": side["sequences"]}
        if side:
            report["unknown"] += side["unknown"]
            report["problems"] += side["problems"]
            report["orphans"] += side["orphans"]
    if all(sides.values()):
        old, new = sides["old"]["shown"], sides["new"]["shown"]
        report["divergent"] = [[id, old.get(id), new.get(id)] for id in sorted(set(old) | set(new))
                               if old.get(id) != new.get(id)]
    report["lost"], report["acknowledged"] = lost(app, config, authority, sides[authority])
    report["open"] = [side for side in ("old", "new") if accepts_writes(app, config, side)]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
