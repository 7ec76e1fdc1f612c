"""What psycopg 3 does, as one JSON object of check to result: the caller compares it between a direct and a gated session."""

import datetime
import json
import sys
import threading

import psycopg
from psycopg import pq

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
    except psycopg.Error as error:
        return [type(error).__name__, error.sqlstate, (error.diag.message_primary or ""), error.diag.severity]
    return "no error"


@check
def simple(connection):
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("SELECT 1, 'two', NULL, 3.5::float8; SELECT count(*) FROM people")
    rows = [cursor.fetchall()]
    while cursor.nextset():
        rows.append(cursor.fetchall())
    return rows


@check
def parameters(connection):
    row = connection.execute(
        "SELECT %s::int, %s::text, %s::bytea, %s::date, %s::numeric, %s::int[], %s::jsonb",
        (1, "ünïcode \\ ' \"", b"\x00\xff", datetime.date(2024, 2, 29), "12.34", [1, None, 3], '{"a": [1, 2]}'),
    ).fetchone()
    return row


@check
def binary(connection):
    cursor = connection.cursor(binary=True)
    cursor.execute("SELECT id, name, email, born, amount, true, 'x'::bytea, now() IS NOT NULL FROM people ORDER BY id LIMIT 3")
    return [cursor.fetchall(), [column.type_code for column in cursor.description], cursor.pgresult.fformat(0)]


@check
def prepared(connection):
    rows = [
        connection.execute("SELECT name FROM people WHERE id = %s", (number,), prepare=True).fetchone()
        for number in range(1, 20)
    ]
    names = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", ("SELECT name%",))
    return [rows, names.fetchone()]


@check
def transactions(connection):
    with connection.transaction():
        connection.execute("INSERT INTO notes (id, body) VALUES (1001, 'kept')")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO notes (id, body) VALUES (1002, 'dropped')")
                connection.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        status = connection.info.transaction_status.name
    rows = connection.execute("SELECT id, body FROM notes WHERE id > 1000 ORDER BY id").fetchall()
    connection.execute("DELETE FROM notes WHERE id > 1000")
    return [status, rows, connection.info.transaction_status.name]


@check
def errors(connection):
    statements = [
        "SELEC 1",
        "SELECT * FROM missing",
        "SELECT missing FROM people",
        "INSERT INTO people (id, name) VALUES (1, 'twice')",
        "INSERT INTO people (id) VALUES (9999)",
        "SELECT 'x'::int",
        "SELECT 1/0",
        "SELECT no_such_function(1)",
        "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P1234', DETAIL = 'd', HINT = 'h'; END $$",
    ]
    found = [error_of(lambda: connection.execute(statement)) for statement in statements]
    return [found, connection.execute("SELECT 'usable'").fetchone()]


@check
def error_in_transaction(connection):
    connection.autocommit = False
    try:
        first = error_of(lambda: connection.execute("SELECT 1/0"))
        second = error_of(lambda: connection.execute("SELECT 1"))
        status = connection.info.transaction_status.name
        connection.rollback()
        return [first, second, status, connection.execute("SELECT 2").fetchone()]
    finally:
        connection.rollback()
        connection.autocommit = True


@check
def pipeline(connection):
    with connection.pipeline() as pipe:
        cursors = [connection.execute("SELECT %s::int * 2", (number,)) for number in range(50)]
        pipe.sync()
        return [cursor.fetchone() for cursor in cursors]


@check
def pipeline_error(connection):
    def once():
        found = []
        with connection.pipeline() as pipe:
            good = connection.execute("SELECT 1")
            bad = connection.execute("SELECT 1/0")
            skipped = connection.execute("SELECT 2")
            found.append(error_of(pipe.sync))
            found.append(good.fetchone())
            found.append(error_of(bad.fetchone))
            found.append(error_of(skipped.fetchone))
        found.append(connection.execute("SELECT 3").fetchone())
        return found

    # Whenever the driver sends it also reads what has come: of an answer that was quicker it tells one statement earlier.
    for _ in range(50):
        try:
            return once()
        except psycopg.errors.DivisionByZero:
            pass
    return "the answer was always there before the next statement"


@check
def execute_many(connection):
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO notes (id, body) VALUES (%s, %s)", [(2000 + n, f"n{n}") for n in range(300)])
    count = connection.execute("SELECT count(*), min(body), max(body) FROM notes WHERE id >= 2000").fetchone()
    cursor.executemany("DELETE FROM notes WHERE id = %s RETURNING body", [(2000 + n,) for n in range(300)], returning=True)
    returned = []
    while True:
        returned.append(cursor.fetchone())
        if not cursor.nextset():
            break
    return [count, len(returned), returned[-1]]


@check
def server_cursor(connection):
    with connection.transaction():
        with connection.cursor(name="walk", scrollable=True) as cursor:
            cursor.itersize = 60
            cursor.execute("SELECT id, name FROM people ORDER BY id")
            first = cursor.fetchmany(3)
            cursor.scroll(100)
            middle = cursor.fetchone()
            cursor.scroll(0, mode="absolute")
            total = sum(1 for _ in cursor)
    return [first, middle, total]


@check
def stream(connection):
    return sum(row[0] for row in connection.cursor().stream("SELECT id FROM people"))


@check
def copy_both_ways(connection):
    connection.execute("CREATE TABLE copied (id int, body text, data bytea)")
    try:
        cursor = connection.cursor()
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for number in range(2000):
                copy.write_row((number, f"line\t{number}\\", b"\x00\x01"))
        with cursor.copy("COPY copied (id, body) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((5000, "binary"))
        with cursor.copy("COPY (SELECT id, body, data FROM copied WHERE id % 500 = 0 ORDER BY id) TO STDOUT") as copy:
            text = [list(row) for row in copy.rows()]
        with cursor.copy("COPY (SELECT id, body FROM copied WHERE id = 5000) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            packed = [list(row) for row in copy.rows()]

        def broken():
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write("x\ty\tz\n")

        def given_up():
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write_row((1, "a", b""))
                raise psycopg.DataError("the client gives up")

        refused = error_of(broken)
        left = error_of(given_up)[0]
        count = connection.execute("SELECT count(*) FROM copied").fetchone()
        return [text, packed, refused, left, count]
    finally:
        connection.execute("DROP TABLE copied")


@check
def notifications(connection):
    connection.execute("LISTEN news")
    connection.execute("SELECT pg_notify('news', 'one')")
    connection.execute("NOTIFY news, 'two'")
    found = []
    for notice in connection.notifies(timeout=10, stop_after=2):
        found.append([notice.channel, notice.payload, notice.pid == connection.info.backend_pid])
    connection.execute("UNLISTEN *")
    return found


@check
def notices(connection):
    found = []
    handler = lambda diag: found.append([diag.severity, diag.sqlstate, diag.message_primary])
    connection.add_notice_handler(handler)
    connection.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; RAISE WARNING 'careful'; END $$")
    connection.remove_notice_handler(handler)
    return found


@check
def cancel(connection):
    timer = threading.Timer(0.3, connection.cancel_safe)
    timer.start()
    found = error_of(lambda: connection.execute("SELECT pg_sleep(30)"))
    timer.join()
    return [found, connection.execute("SELECT 'usable'").fetchone()]


@check
def large_objects(connection):
    with connection.transaction():
        oid = connection.execute("SELECT lo_from_bytea(0, %s)", (b"abc" * 1000,)).fetchone()[0]
        size = connection.execute("SELECT length(lo_get(%s))", (oid,)).fetchone()
        connection.execute("SELECT lo_unlink(%s)", (oid,))
    return size


@check
def two_phase(connection):
    return error_of(lambda: connection.execute("PREPARE TRANSACTION 'x'"))


@check
def session(connection):
    info = connection.info
    connection.execute("SET TIME ZONE 'Asia/Tokyo'")
    zone = info.parameter_status("TimeZone")
    connection.execute("SET application_name = 'checks'")
    name = info.parameter_status("application_name")
    connection.execute("RESET ALL")
    alive = connection.execute("SELECT pg_backend_pid() = %s", (info.backend_pid,)).fetchone()
    return [zone, name, alive, info.server_version, info.encoding, pq.ConnStatus(connection.pgconn.status).name]


def main():
    wanted = sys.argv[1:]
    results = {}
    for function in CHECKS:
        if wanted and function.__name__ not in wanted:
            continue
        with psycopg.connect("", autocommit=True, connect_timeout=20) as connection:
            try:
                results[function.__name__] = plain(function(connection))
            except Exception as error:  # The comparison shows it under its check.
                results[function.__name__] = f"raised {type(error).__name__}: {error}"
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
