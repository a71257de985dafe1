"""The shop: customers, orders and lines, held together by foreign keys with cascades.

A logical row is a customer {name, email, seq, orders: {id: {state, lines: {no: [sku, price]}}}}.
The total of an order is the sum of its lines, always. Each writer changes its own customers only;
all writers count up customer 0.
"""

from unwanted import Unwanted

HOT = 0
STATES = ("open", "paid", "", "geschlossen ✓")

OLD = """
create table customers (id integer primary key autoincrement, name text, email text unique,
  writer integer not null, seq integer not null);
create table orders (id integer primary key autoincrement, customer_id integer not null
  references customers (id) on delete cascade on update cascade, state text not null,
  total integer not null);
create table lines (order_id integer not null references orders (id) on delete cascade
  on update cascade, no integer not null, sku text, price integer not null,
  primary key (order_id, no));
"""
NEW = """
create table clients (id integer primary key autoincrement, full_name text, email text unique,
  writer integer not null, seq integer not null);
create table purchases (id integer primary key autoincrement, client_id integer not null
  references clients (id) on delete cascade on update cascade, status text not null,
  total integer not null);
create table items (purchase_id integer not null references purchases (id) on delete cascade
  on update cascade, no integer not null, product text, price integer not null,
  primary key (purchase_id, no));
"""


class Old:
    customers, name = "customers", "name"
    orders, customer, state = "orders", "customer_id", "state"
    lines, order, sku = "lines", "order_id", "sku"

    def __init__(self, config):
        pass


class New:
    customers, name = "clients", "full_name"
    orders, customer, state = "purchases", "client_id", "status"
    lines, order, sku = "items", "purchase_id", "product"

    def __init__(self, config):
        pass


SHAPES = {"old": Old, "new": New}


def create_old(db):
    for statement in OLD.split(";"):
        db.execute(statement)


def create_new(db):
    for statement in NEW.split(";"):
        db.execute(statement)


def fill(db, config, chance):
    db.execute("insert into customers values (?, 'hot', null, -1, 0)", (HOT,))
    for id in range(1, config["rows"] + 1):
        db.execute("insert into customers values (?, ?, ?, ?, 0)",
                   (id, f"name {id}", f"seed{id}@example.org", id % max(config["writers"], 1)))
        for _ in range(chance.choice((0, 1, 2))):
            lines = {no: [f"sku{no}", chance.randrange(1000)] for no in range(chance.randrange(4))}
            add_order(db, Old, id, {"state": "open", "lines": lines})


def add_order(db, shape, customer, order):
    total = sum(price for _, price in order["lines"].values())
    id = db.execute(f"insert into {shape.orders} ({shape.customer}, {shape.state}, total) "
                    "values (?, ?, ?)", (customer, order["state"], total)).lastrowid
    for no, (sku, price) in order["lines"].items():
        db.execute(f"insert into {shape.lines} values (?, ?, ?, ?)", (id, no, sku, price))
    return id


class Model:
    """What one writer believes to be true of its own customers: only what was acknowledged."""

    def __init__(self, owner, index):
        self.owner, self.index = owner, index
        self.seq, self.fresh_ids, self.emails = 0, 0, 0
        self.rows = {}
        db = owner.connection()
        mine = db.execute("select * from customers where writer = ?", (index,)).fetchall()
        for id, name, email, _, seq in mine:
            orders = {}
            sql = "select id, state from orders where customer_id = ?"
            for order, state in db.execute(sql, (id,)).fetchall():
                sql = "select no, sku, price from lines where order_id = ?"
                lines = {no: [sku, price] for no, sku, price in db.execute(sql, (order,))}
                orders[order] = {"state": state, "lines": lines}
            self.rows[id] = {"name": name, "email": email, "seq": seq, "orders": orders}

    def take(self, changes):
        for id, row in changes["set"]:
            if row is None:
                self.rows.pop(id, None)
            else:
                self.rows[id] = row

    def pick(self, chance):
        works = (self.join, self.order, self.order, self.line, self.line, self.unline,
                 self.cancel, self.leave, self.move_order, self.move_key, self.move_order_key,
                 self.swap_emails, self.replace, self.steal_email, self.count_up, self.rename)
        work = chance.choice(works)
        return lambda db, shape: work(db, shape, chance)

    # Helpers ------------------------------------------------------------------------------------

    def some(self, chance, count):
        ids = sorted(self.rows)
        if len(ids) < count + 5:
            raise Unwanted()
        return [(id, self.next(self.rows[id])) for id in chance.sample(ids, count)]

    def some_order(self, chance):
        [(id, row)] = self.some(chance, 1)
        if not row["orders"]:
            raise Unwanted()
        return id, row, chance.choice(sorted(row["orders"]))

    def next(self, row):
        self.seq += 1
        orders = {id: {"state": order["state"], "lines": dict(order["lines"])}
                  for id, order in row["orders"].items()}
        return dict(row, seq=self.seq, orders=orders)

    def new_email(self):
        self.emails += 1
        return f"w{self.index}-{self.emails}@example.org"

    def new_id(self):
        self.fresh_ids += 1
        return -(self.index + 1) * 1_000_000 - self.fresh_ids

    def touch(self, db, shape, id, row, /, **fields):
        fields = {"seq": row["seq"]} | fields
        assignments = ", ".join(f"{name} = ?" for name in fields)
        db.execute(f"update {shape.customers} set {assignments} where id = ?",
                   (*fields.values(), id))

    def retotal(self, db, shape, order, lines):
        total = sum(price for _, price in lines.values())
        db.execute(f"update {shape.orders} set total = ? where id = ?", (total, order))

    # Transactions -------------------------------------------------------------------------------

    def join(self, db, shape, chance):
        row = self.next({"name": chance.choice((None, "", "Ünal")), "email": self.new_email(),
                         "orders": {}})
        id = db.execute(f"insert into {shape.customers} ({shape.name}, email, writer, seq) "
                        "values (?, ?, ?, ?)",
                        (row["name"], row["email"], self.index, row["seq"])).lastrowid
        return {"set": [(id, row)]}

    def order(self, db, shape, chance):
        [(id, row)] = self.some(chance, 1)
        lines = {no: [chance.choice((None, "sku", "ß")), chance.randrange(1000)]
                 for no in range(chance.randrange(5))}
        order = {"state": chance.choice(STATES), "lines": lines}
        row["orders"][add_order(db, shape, id, order)] = order
        self.touch(db, shape, id, row)
        return {"set": [(id, row)]}

    def line(self, db, shape, chance):
        id, row, order = self.some_order(chance)
        lines = row["orders"][order]["lines"]
        no, price = chance.randrange(6), chance.randrange(1000)
        db.execute(f"insert into {shape.lines} values (?, ?, 'more', ?) on conflict do update "
                   f"set {shape.sku} = 'more', price = excluded.price", (order, no, price))
        lines[no] = ["more", price]
        self.retotal(db, shape, order, lines)
        self.touch(db, shape, id, row)
        return {"set": [(id, row)]}

    def unline(self, db, shape, chance):
        id, row, order = self.some_order(chance)
        lines = row["orders"][order]["lines"]
        if not lines:
            raise Unwanted()
        no = chance.choice(sorted(lines))
        db.execute(f"delete from {shape.lines} where {shape.order} = ? and no = ?", (order, no))
        del lines[no]
        self.retotal(db, shape, order, lines)
        self.touch(db, shape, id, row)
        return {"set": [(id, row)]}

    def cancel(self, db, shape, chance):
        """The lines go with their order."""
        id, row, order = self.some_order(chance)
        db.execute(f"delete from {shape.orders} where id = ?", (order,))
        del row["orders"][order]
        self.touch(db, shape, id, row)
        return {"set": [(id, row)]}

    def leave(self, db, shape, chance):
        """Orders and lines go with their customer."""
        [(id, _)] = self.some(chance, 1)
        db.execute(f"delete from {shape.customers} where id = ?", (id,))
        return {"set": [(id, None)]}

    def move_order(self, db, shape, chance):
        (a, row_a), (b, row_b) = self.some(chance, 2)
        if not row_a["orders"]:
            raise Unwanted()
        order = chance.choice(sorted(row_a["orders"]))
        db.execute(f"update {shape.orders} set {shape.customer} = ? where id = ?", (b, order))
        row_b["orders"][order] = row_a["orders"].pop(order)
        self.touch(db, shape, a, row_a)
        self.touch(db, shape, b, row_b)
        return {"set": [(a, row_a), (b, row_b)]}

    def move_key(self, db, shape, chance):
        """The orders follow by cascade."""
        [(id, row)] = self.some(chance, 1)
        target = self.new_id()
        self.touch(db, shape, id, row, id=target)
        return {"set": [(id, None), (target, row)]}

    def move_order_key(self, db, shape, chance):
        """The lines follow by cascade: half of their key changes."""
        id, row, order = self.some_order(chance)
        target = self.new_id()
        db.execute(f"update {shape.orders} set id = ? where id = ?", (target, order))
        row["orders"][target] = row["orders"].pop(order)
        self.touch(db, shape, id, row)
        return {"set": [(id, row)]}

    def swap_emails(self, db, shape, chance):
        (a, row_a), (b, row_b) = self.some(chance, 2)
        row_a["email"], row_b["email"] = row_b["email"], row_a["email"]
        self.touch(db, shape, a, row_a, email=None)
        self.touch(db, shape, b, row_b, email=row_b["email"])
        self.touch(db, shape, a, row_a, email=row_a["email"])
        return {"set": [(a, row_a), (b, row_b)]}

    def replace(self, db, shape, chance):
        """`replace` deletes the row it replaces, and what points at it goes along."""
        [(id, row)] = self.some(chance, 1)
        row["orders"] = {}
        db.execute(f"replace into {shape.customers} values (?, ?, ?, ?, ?)",
                   (id, row["name"], row["email"], self.index, row["seq"]))
        return {"set": [(id, row)]}

    def steal_email(self, db, shape, chance):
        """`replace` deletes another customer, because of its address, with all it ordered."""
        (victim, lost), (_, _) = self.some(chance, 2)
        row = self.next({"name": "thief", "email": lost["email"], "orders": {}})
        id = db.execute(f"replace into {shape.customers} ({shape.name}, email, writer, seq) "
                        "values (?, ?, ?, ?)",
                        (row["name"], row["email"], self.index, row["seq"])).lastrowid
        gone = [(victim, None)] if lost["email"] is not None else []
        return {"set": gone + [(id, row)]}

    def count_up(self, db, shape, chance):
        db.execute(f"update {shape.customers} set seq = seq + 1 where id = ?", (HOT,))
        return {"set": [], "hot": 1}

    def rename(self, db, shape, chance):
        rows = self.some(chance, 4)
        for id, row in rows:
            row["name"] = chance.choice((None, "", "李", row["name"]))
            self.touch(db, shape, id, row, **{shape.name: row["name"]})
        return {"set": rows}
