"""What psycopg2 does, which speaks the simple protocol only, as one JSON object of check to result."""

import io
import json
import select
import sys
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (str, int, float, bool, dict)) or value is None:
        return value
    return str(value)


def error_of(action):
    try:
        action()
    except psycopg2.Error as error:
        return [type(error).__name__, error.pgcode, error.diag.message_primary if error.pgcode else ""]
    return "no error"


@check
def values(connection):
    cursor = connection.cursor()
    cursor.execute(
        "SELECT %s, %s, %s::bytea, %s, %s::numeric, now() IS NOT NULL",
        (1, "ünïcode \\ ' \"", psycopg2.Binary(b"\x00\xff"), [1, 2], "1.5"),
    )
    return [cursor.fetchall(), [column.type_code for column in cursor.description]]


@check
def several(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT 1; SELECT name FROM people WHERE id = 7; UPDATE people SET name = name WHERE id < 4")
    return [cursor.statusmessage, cursor.rowcount]


@check
def batch(connection):
    cursor = connection.cursor()
    psycopg2.extras.execute_values(
        cursor, "INSERT INTO notes (id, body) VALUES %s", [(3000 + n, f"n{n}") for n in range(1000)]
    )
    cursor.execute("SELECT count(*), sum(length(body)) FROM notes WHERE id >= 3000")
    found = cursor.fetchone()
    psycopg2.extras.execute_batch(cursor, "DELETE FROM notes WHERE id = %s", [(3000 + n,) for n in range(1000)])
    return [found, cursor.statusmessage]


@check
def transactions(connection):
    connection.autocommit = False
    cursor = connection.cursor()
    cursor.execute("SAVEPOINT a")
    failed = error_of(lambda: cursor.execute("SELECT 1/0"))
    aborted = error_of(lambda: cursor.execute("SELECT 1"))
    cursor.execute("ROLLBACK TO a")
    cursor.execute("SELECT 5")
    row = cursor.fetchone()
    status = connection.get_transaction_status()
    connection.rollback()
    return [failed, aborted, row, status, connection.get_transaction_status()]


@check
def isolation(connection):
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True, autocommit=False)
    cursor = connection.cursor()
    cursor.execute("SHOW transaction_isolation")
    level = cursor.fetchone()
    refused = error_of(lambda: cursor.execute("DELETE FROM notes"))
    connection.rollback()
    return [level, refused]


@check
def errors(connection):
    cursor = connection.cursor()
    statements = ["SELEC 1", "SELECT * FROM missing", "INSERT INTO people (id, name) VALUES (1, 'x')", "SELECT ''::int", ""]
    found = [error_of(lambda: cursor.execute(statement)) for statement in statements]
    cursor.execute("SELECT 'usable'")
    return [found, cursor.fetchone()]


@check
def named_cursor(connection):
    connection.autocommit = False
    with connection.cursor("walk") as cursor:
        cursor.itersize = 70
        cursor.execute("SELECT id FROM people ORDER BY id")
        total = sum(row[0] for row in cursor)
    connection.rollback()
    return total


@check
def copy_both_ways(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE copied (id int, body text)")
    try:
        cursor.copy_expert("COPY copied FROM STDIN (FORMAT csv)", io.StringIO("".join(f'{n},"b ""{n}"\n' for n in range(5000))))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM copied WHERE id % 1000 = 0 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", out)
        refused = error_of(lambda: cursor.copy_from(io.StringIO("1\t2\t3\n"), "copied"))
        cursor.execute("SELECT count(*) FROM copied")
        return [out.getvalue(), refused, cursor.fetchone()]
    finally:
        cursor.execute("DROP TABLE copied")


@check
def large_objects(connection):
    """libpq's own, which are FunctionCall messages."""
    connection.autocommit = False
    large = connection.lobject(0, "wb")
    oid = large.oid
    large.write(b"0123456789" * 1000)
    large.close()
    large = connection.lobject(oid, "rb")
    large.seek(9990)
    tail = large.read()
    size = large.seek(0, 2)
    large.close()
    connection.lobject(oid, "rwb").truncate(10)
    whole = connection.lobject(oid, "rb").read()
    connection.lobject(oid).unlink()
    missing = error_of(lambda: connection.lobject(oid, "rb"))
    connection.rollback()
    return [tail, size, whole, missing[:2]]


@check
def notifications(connection):
    cursor = connection.cursor()
    cursor.execute("LISTEN news; NOTIFY news, 'first'")
    other = psycopg2.connect("")
    other.autocommit = True
    other.cursor().execute("NOTIFY news, 'second'")
    while len(connection.notifies) < 2:
        if not select.select([connection], [], [], 20)[0]:
            break
        connection.poll()
    other.close()
    return [[notice.channel, notice.payload] for notice in connection.notifies]


@check
def cancel(connection):
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    cursor = connection.cursor()
    found = error_of(lambda: cursor.execute("SELECT pg_sleep(30)"))
    timer.join()
    cursor.execute("SELECT 'usable'")
    return [found, cursor.fetchone()]


@check
def notices(connection):
    connection.cursor().execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$; DROP TABLE IF EXISTS nothing_here")
    return connection.notices


@check
def session(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    same = cursor.fetchone()[0] == connection.info.backend_pid
    cursor.execute("SET datestyle TO 'German'; SELECT date '2024-03-01'::text")
    row = cursor.fetchone()
    cursor.execute("RESET datestyle")
    return [same, row, connection.get_parameter_status("DateStyle"), connection.server_version, connection.encoding]


def main():
    wanted = sys.argv[1:]
    results = {}
    for function in CHECKS:
        if wanted and function.__name__ not in wanted:
            continue
        connection = psycopg2.connect("", connect_timeout=20)
        connection.autocommit = True
        try:
            results[function.__name__] = plain(function(connection))
        except Exception as error:  # The comparison shows it under its check.
            results[function.__name__] = f"raised {type(error).__name__}: {error}"
        finally:
            connection.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
