"""An ordinary agent through Sallyport: masked columns in every way a result can come, and a session that survives a denial."""

import json
import sys

if sys.argv[1] == "psycopg3":
    import psycopg as driver

    connection = driver.connect("", autocommit=True)
    binary = {"binary": True}
else:
    import psycopg2 as driver

    connection = driver.connect("")
    connection.autocommit = True
    binary = {}

results = {}
QUERY = "SELECT id, email, card AS c FROM people WHERE id <= 2 ORDER BY id"


def rows(cursor):
    return [list(row) for row in cursor.fetchall()]


cursor = connection.cursor()
cursor.execute(QUERY)
results["text"] = rows(cursor)
if binary:
    cursor = connection.cursor(**binary)
    cursor.execute(QUERY)
    results["binary"] = rows(cursor)
    with cursor.copy("COPY (SELECT id, name FROM people WHERE id <= 2 ORDER BY id) TO STDOUT") as copy:
        results["copy"] = b"".join(bytes(piece) for piece in copy).decode()
    results["prepared"] = [rows(connection.execute(QUERY, prepare=True)) for _ in range(2)]

denials = []
for statement in ["SELECT * FROM secrets", "DELETE FROM people", "SELECT upper(email) FROM people", "COPY people TO STDOUT"]:
    try:
        cursor.execute(statement)
        denials.append("allowed")
    except driver.Error as error:
        denials.append([type(error).__name__, error.diag.sqlstate])
results["denials"] = denials
cursor = connection.cursor()
cursor.execute("SELECT count(*) FROM people")
results["usable"] = list(cursor.fetchone())

connection.autocommit = False
cursor = connection.cursor()
cursor.execute("SELECT name FROM people WHERE id = 1")
try:
    cursor.execute("DELETE FROM people")
except driver.Error as error:
    results["denied in a transaction"] = error.diag.sqlstate
try:
    cursor.execute("SELECT 1")
except driver.Error as error:
    results["after it"] = error.diag.sqlstate
connection.rollback()
cursor.execute("SELECT 1")
results["after rollback"] = list(cursor.fetchone())
json.dump(results, sys.stdout)
