"""sqlite3 from threads and from processes, with json and zlib in between."""
import json
import multiprocessing
import os
import sqlite3
import threading
import zlib

FILE = "python.sqlite"


def connect():
    base = sqlite3.connect(FILE, timeout=120)
    base.execute("PRAGMA synchronous = OFF")
    base.create_function("pack", 1, lambda text: zlib.compress(text.encode()))
    base.create_function("unpack", 1, lambda data: zlib.decompress(data).decode())
    return base


def fill(worker):
    base = connect()
    for part in range(4):
        rows = [
            (worker, part * 500 + i, json.dumps({"worker": worker, "list": list(range(i % 40))}))
            for i in range(500)
        ]
        with base:
            base.executemany("INSERT INTO fact VALUES (?, ?, pack(?))", rows)
    base.close()


if os.path.exists(FILE):
    os.remove(FILE)
base = connect()
base.execute("PRAGMA journal_mode = WAL")
base.execute("CREATE TABLE fact (worker INTEGER, number INTEGER, packed BLOB)")
base.commit()

threads = [threading.Thread(target=fill, args=(n,)) for n in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
base.close()
context = multiprocessing.get_context("fork")
with context.Pool(4) as pool:
    pool.map(fill, range(6, 12))

base = connect()
print(base.execute("SELECT count(*), count(DISTINCT worker), sum(length(packed)) FROM fact").fetchone())
print(base.execute("SELECT sum(length(unpack(packed))) FROM fact").fetchone())
total = 0
for _, _, packed in base.execute("SELECT * FROM fact"):
    total += sum(json.loads(zlib.decompress(packed))["list"])
print(total)
copy = sqlite3.connect(":memory:")
base.backup(copy)
print(copy.execute("PRAGMA integrity_check").fetchone())
print(len("\n".join(copy.iterdump())))
try:
    copy.execute("SELECT no_such_column FROM fact")
except sqlite3.OperationalError as error:
    print(error)
print("done")
