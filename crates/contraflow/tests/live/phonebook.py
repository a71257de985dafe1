"""The phonebook: numbered contact columns (old), a JSON list of contacts (new).

A logical row is {person, tag, amount, seq, contacts: [[name, number, note]]}. Amounts are money:
they are moved and never made, so their sum stands. Each writer changes its own rows only; all
writers count up row 0.
"""

import json

from unwanted import Unwanted

HOT = 0
AMOUNT = 100
FIELDS = ("tag", "amount", "writer", "seq")
SLOTS = ("contact1_name", "contact1_num", "contact2_name", "contact2_num")
TEXTS = (None, "", "Ada", "Zoë", "李雷", "e\u0301", "🦀 crab", "O'Hara", 'q"uote', "line\nbreak",
         "null", "[]", "0", " pad ", "\u202eאב", "x" * 300)


def create_old(db):
    slots = ", ".join(f"{slot} text" for slot in SLOTS)
    db.execute(f"""create table phonebook (id integer primary key autoincrement, owner text,
        tag text unique, amount integer not null, writer integer not null,
        seq integer not null, {slots})""")


def create_new(db):
    db.execute("""create table contacts (id integer primary key autoincrement, person text,
        contacts text not null, tag text unique, amount integer not null,
        writer integer not null, seq integer not null, count integer not null)""")


def fill(db, config, chance):
    shape = Old(config)
    row = {"person": "hot", "tag": None, "amount": 0, "seq": 0, "writer": -1, "contacts": []}
    shape.insert(db, HOT, row)
    for id in range(1, config["rows"] + 1):
        row = fresh(chance, id % max(config["writers"], 1), f"seed{id}", 0)
        row["amount"] = AMOUNT
        row["contacts"] = row["contacts"][:2]
        for contact in row["contacts"]:
            contact[2] = None
        shape.insert(db, id, row, chance)


def fresh(chance, writer, tag, seq):
    contacts = [[chance.choice(TEXTS), f"+{chance.randrange(10**6)}", None]
                for _ in range(chance.choice((0, 1, 1, 2, 2)))]
    return {"person": chance.choice(TEXTS), "tag": tag, "amount": 0, "seq": seq,
            "writer": writer, "contacts": contacts}


class Old:
    """Numbered columns. Shows two contacts; what else a row has is not for it to see."""
    table, person, overflow = "phonebook", "owner", False

    def __init__(self, config):
        self.unique = True

    def values(self, row, chance=None):
        shown = row["contacts"][:2]
        slots = [(name, number) for name, number, _ in shown]
        blank = (None, None) if chance is None else chance.choice(((None, None), ("", None)))
        if len(slots) == 1 and chance is not None and chance.random() < 0.3:
            slots.insert(0, blank)
        while len(slots) < 2:
            slots.append(blank)
        return dict(zip(SLOTS, slots[0] + slots[1]))

    def insert(self, db, id, row, chance=None, verb="insert"):
        values = {field: row[field] for field in FIELDS}
        values |= self.values(row, chance) | {self.person: row["person"]}
        return put(db, self.table, id, values, verb)

    def recontact(self, db, id, row, at, contact):
        """Changes one contact where it stands: its slot is the at-th that is filled."""
        slots = db.execute(f"select {', '.join(SLOTS)} from phonebook where id = ?", (id,))
        slots = slots.fetchone()
        filled = [i for i in (0, 1) if slots[2 * i] or slots[2 * i + 1]]
        i = filled[at] + 1
        db.execute(f"update phonebook set contact{i}_name = ?, contact{i}_num = ?, seq = ? "
                   "where id = ?", (contact[0], contact[1], row["seq"], id))


class New:
    """A list of contacts, as many as one likes, with notes that the old shape never heard of."""
    table, person, overflow = "contacts", "person", True

    def __init__(self, config):
        self.unique = config["premade"]

    def values(self, row):
        contacts = [item(contact) for contact in row["contacts"]]
        text = json.dumps(contacts, ensure_ascii=False)
        return {"contacts": text, "count": len(contacts)}

    def insert(self, db, id, row, chance=None, verb="insert"):
        values = {field: row[field] for field in FIELDS}
        values |= self.values(row) | {self.person: row["person"]}
        return put(db, self.table, id, values, verb)

    def recontact(self, db, id, row, at, contact):
        """Reads the list, changes one item and writes it back, as an application would."""
        text, = db.execute("select contacts from contacts where id = ?", (id,)).fetchone()
        contacts = json.loads(text)
        contacts[at] |= item(contact)
        db.execute("update contacts set contacts = ?, seq = ? where id = ?",
                   (json.dumps(contacts), row["seq"], id))


SHAPES = {"old": Old, "new": New}


def item(contact):
    name, number, note = contact
    return {"name": name, "phoneNumber": number} | ({"note": note} if note else {})


def put(db, table, id, values, verb):
    if id is not None:
        values = {"id": id} | values
    marks = ", ".join("?" * len(values))
    sql = f"{verb} into {table} ({', '.join(values)}) values ({marks})"
    return db.execute(sql, tuple(values.values())).lastrowid


class Model:
    """What one writer believes to be true of its own rows: only what was acknowledged."""

    def __init__(self, owner, index):
        self.owner, self.index = owner, index
        self.seq, self.fresh_ids, self.tags, self.gone = 0, 0, 0, []
        self.rows = {}
        self.load(owner.config)

    def load(self, config):
        """Its own rows as they were seeded."""
        db = self.owner.connection()
        sql = f"select id, owner, tag, amount, seq, {', '.join(SLOTS)} from phonebook"
        for row in db.execute(f"{sql} where writer = ?", (self.index,)):
            slots = [[row[5], row[6], None], [row[7], row[8], None]]
            self.rows[row[0]] = {"person": row[1], "tag": row[2], "amount": row[3], "seq": row[4],
                                 "writer": self.index,
                                 "contacts": [s for s in slots if s[0] or s[1]]}

    def take(self, changes):
        for id, row in changes["set"]:
            if row is None:
                self.rows.pop(id, None)
                self.gone.append(id)
            else:
                self.rows[id] = row
                if id in self.gone:
                    self.gone.remove(id)

    def pick(self, chance):
        works = (self.insert, self.edit, self.edit, self.recontact, self.recontact, self.delete,
                 self.reinsert, self.move_key, self.rotate_keys, self.replace_itself, self.evict,
                 self.update_or_replace, self.upsert, self.pay, self.pay, self.swap_tags,
                 self.count_up, self.change_mind, self.many, self.ignored)
        work = chance.choice(works)
        return lambda db, shape: work(db, shape, chance)

    # Helpers ------------------------------------------------------------------------------------

    def next(self, row):
        self.seq += 1
        return dict(row, seq=self.seq, contacts=[list(c) for c in row["contacts"]])

    def some(self, chance, count):
        ids = sorted(self.rows)
        if len(ids) < count + 5:
            raise Unwanted()
        return [(id, self.next(self.rows[id])) for id in chance.sample(ids, count)]

    def new_id(self):
        self.fresh_ids += 1
        return -(self.index + 1) * 1_000_000 - self.fresh_ids

    def new_tag(self):
        self.tags += 1
        return f"w{self.index}-{self.tags}"

    def new_row(self, shape, chance):
        tag = chance.choice((None, self.new_tag(), self.new_tag()))
        row = self.next(fresh(chance, self.index, tag, 0))
        if shape.overflow and chance.random() < 0.3:
            row["contacts"] += [["extra", f"+{chance.randrange(10**6)}", chance.choice(TEXTS)]
                                for _ in range(chance.choice((1, 2)))]
        return row

    @staticmethod
    def plain(row):
        """True when the old shape shows all of the row."""
        return len(row["contacts"]) <= 2 and not any(c[2] for c in row["contacts"])

    def update(self, db, shape, id, row, /, **fields):
        fields = {"seq": row["seq"]} | fields
        assignments = ", ".join(f"{name} = ?" for name in fields)
        db.execute(f"update {shape.table} set {assignments} where id = ?", (*fields.values(), id))

    def remove(self, db, shape, id):
        count = db.execute(f"delete from {shape.table} where id = ?", (id,)).rowcount
        assert count == 1, f"row {id} of writer {self.index} was gone"

    def give(self, db, shape, from_row, id, row):
        """Moves the money of a row that is about to go."""
        row["amount"] += from_row["amount"]
        self.update(db, shape, id, row, amount=row["amount"])
        from_row["amount"] = 0

    # Transactions -------------------------------------------------------------------------------

    def insert(self, db, shape, chance):
        changes = []
        for _ in range(chance.choice((1, 1, 3))):
            row = self.new_row(shape, chance)
            changes.append((shape.insert(db, None, row, chance), row))
        return {"set": changes}

    def edit(self, db, shape, chance):
        [(id, row)] = self.some(chance, 1)
        row["person"] = chance.choice(TEXTS)
        row["tag"] = chance.choice((row["tag"], None, self.new_tag()))
        self.update(db, shape, id, row, **{shape.person: row["person"], "tag": row["tag"]})
        return {"set": [(id, row)]}

    def recontact(self, db, shape, chance):
        [(id, row)] = self.some(chance, 1)
        if not row["contacts"]:
            raise Unwanted()
        at = chance.randrange(min(2, len(row["contacts"])))
        contact = row["contacts"][at]
        contact[0] = chance.choice(TEXTS)
        shape.recontact(db, id, row, at, contact)
        return {"set": [(id, row)]}

    def delete(self, db, shape, chance):
        (id, row), (heir, heir_row) = self.some(chance, 2)
        self.give(db, shape, row, heir, heir_row)
        self.remove(db, shape, id)
        return {"set": [(heir, heir_row), (id, None)]}

    def reinsert(self, db, shape, chance):
        """A key that was used before, in this transaction or long ago, gets another row."""
        if self.gone and chance.random() < 0.5:
            id, row = chance.choice(self.gone), self.new_row(shape, chance)
            shape.insert(db, id, row, chance)
            return {"set": [(id, row)]}
        [(id, was)] = self.some(chance, 1)
        row = self.new_row(shape, chance) | {"amount": was["amount"]}
        self.remove(db, shape, id)
        shape.insert(db, id, row, chance)
        return {"set": [(id, row)]}

    def move_key(self, db, shape, chance):
        [(id, row)] = self.some(chance, 1)
        target = self.new_id()
        self.update(db, shape, id, row, id=target)
        return {"set": [(id, None), (target, row)]}

    def rotate_keys(self, db, shape, chance):
        """Three rows change places."""
        rows = self.some(chance, 3)
        aside = self.new_id()
        (a, row_a), (b, row_b), (c, row_c) = rows
        for was, now, row in ((a, aside, row_a), (b, a, row_b), (c, b, row_c), (aside, c, row_a)):
            self.update(db, shape, was, row, id=now)
        return {"set": [(a, row_b), (b, row_c), (c, row_a)]}

    def replace_itself(self, db, shape, chance):
        [(id, was)] = self.some(chance, 1)
        if not self.plain(was):
            raise Unwanted()
        row = self.new_row(shape, chance) | {"amount": was["amount"]}
        shape.insert(db, id, row, chance, "replace")
        return {"set": [(id, row)]}

    def evict(self, db, shape, chance):
        """`replace` deletes another row, because of a value that is unique beside the key."""
        (victim, lost), (heir, heir_row) = self.some(chance, 2)
        if lost["tag"] is None:
            raise Unwanted()
        self.give(db, shape, lost, heir, heir_row)
        if not shape.unique:
            self.remove(db, shape, victim)
        row = self.new_row(shape, chance) | {"tag": lost["tag"]}
        id = shape.insert(db, None, row, chance, "replace")
        return {"set": [(heir, heir_row), (victim, None), (id, row)]}

    def update_or_replace(self, db, shape, chance):
        (victim, lost), (id, row) = self.some(chance, 2)
        if lost["tag"] is None:
            raise Unwanted()
        self.give(db, shape, lost, id, row)
        if not shape.unique:
            self.remove(db, shape, victim)
        row["tag"] = lost["tag"]
        db.execute(f"update or replace {shape.table} set tag = ? where id = ?", (row["tag"], id))
        return {"set": [(victim, None), (id, row)]}

    def upsert(self, db, shape, chance):
        [(id, row)] = self.some(chance, 1)
        row["person"] = chance.choice(TEXTS)
        other = "contacts, count" if shape.overflow else "contact1_name"
        values = "'[]', 0" if shape.overflow else "null"
        db.execute(f"""insert into {shape.table} (id, {shape.person}, amount, writer, seq, {other})
            values (?, ?, 0, ?, ?, {values}) on conflict (id) do update
            set {shape.person} = excluded.{shape.person}, seq = excluded.seq""",
                   (id, row["person"], self.index, row["seq"]))
        return {"set": [(id, row)]}

    def pay(self, db, shape, chance):
        rows = self.some(chance, chance.choice((2, 2, 6)))
        payer, rest = rows[0], rows[1:]
        for id, row in rest:
            row["amount"] += 7
            payer[1]["amount"] -= 7
            self.update(db, shape, id, row, amount=row["amount"])
        self.update(db, shape, payer[0], payer[1], amount=payer[1]["amount"])
        return {"set": rows}

    def swap_tags(self, db, shape, chance):
        (a, row_a), (b, row_b) = self.some(chance, 2)
        row_a["tag"], row_b["tag"] = row_b["tag"], row_a["tag"]
        self.update(db, shape, a, row_a, tag=None)
        self.update(db, shape, b, row_b, tag=row_b["tag"])
        self.update(db, shape, a, row_a, tag=row_a["tag"])
        return {"set": [(a, row_a), (b, row_b)]}

    def count_up(self, db, shape, chance):
        db.execute(f"update {shape.table} set seq = seq + 1 where id = ?", (HOT,))
        return {"set": [], "hot": 1}

    def change_mind(self, db, shape, chance):
        self.pay(db, shape, chance)
        self.delete(db, shape, chance)
        if chance.random() < 0.5:
            raise Unwanted()
        db.execute("rollback")
        db.execute("begin immediate")
        return self.edit(db, shape, chance)

    def many(self, db, shape, chance):
        """One statement, many rows."""
        rows = self.some(chance, 12)
        seq = max(row["seq"] for _, row in rows)
        for _, row in rows:
            row["seq"] = seq
        marks = ", ".join("?" * len(rows))
        db.execute(f"update {shape.table} set seq = ? where id in ({marks})",
                   (seq, *(id for id, _ in rows)))
        return {"set": rows}

    def ignored(self, db, shape, chance):
        """`or ignore` runs into a row that stays."""
        [(id, row)] = self.some(chance, 1)
        shape.insert(db, id, self.new_row(shape, chance), chance, "insert or ignore")
        self.update(db, shape, id, row)
        return {"set": [(id, row)]}
