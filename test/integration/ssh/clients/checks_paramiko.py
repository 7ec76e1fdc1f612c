"""What paramiko does, as one JSON object of check to result: the caller compares a direct and a gated session. Arguments: PORT KEY TARGET_PORT FOLDER."""

import hashlib
import json
import os
import sys
import threading
import time

import paramiko

CHECKS = []
ALL_BYTES = bytes(range(256)) * 4096


def check(function):
    CHECKS.append(function)
    return function


def run(client, command, data=None):
    channel = client.get_transport().open_session()
    channel.exec_command(command)
    if data is not None:
        threading.Thread(target=lambda: (channel.sendall(data), channel.shutdown_write())).start()
    out = channel.makefile("rb").read()
    err = channel.makefile_stderr("rb").read()
    status = channel.recv_exit_status()
    # paramiko answers the server's CLOSE from the thread that also exchanges keys: closing here, then asking for new keys, can block both.
    while not channel.closed:
        time.sleep(0.001)
    return status, out, err


@check
def statuses(client):
    return [run(client, f"exit {status}")[0] for status in (0, 1, 7, 126, 127, 255)]


@check
def a_signal(client):
    return run(client, 'sh -c "kill -TERM $$"')[0]


@check
def standard_streams(client):
    status, out, err = run(client, "echo out; echo err >&2; exit 3")
    return [status, out.decode(), err.decode()]


@check
def every_byte(client):
    status, out, _ = run(client, "cat", ALL_BYTES)
    return [status, out == ALL_BYTES]


@check
def input_that_ends_first(client):
    return run(client, "wc -c", b"x" * 100_000)[1].decode().strip()


@check
def channels_at_once(client):
    results = [None] * 8

    def one(index):
        results[index] = run(client, f"echo {index}; exit {index}")[:2]

    threads = [threading.Thread(target=one, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [[status, out.decode()] for status, out in results]


@check
def new_keys_between_and_during(client):
    transport = client.get_transport()
    first = run(client, "echo before")[1]
    transport.renegotiate_keys()
    status, out, _ = run(client, "cat", ALL_BYTES)
    transport.renegotiate_keys()
    return [first.decode(), status, out == ALL_BYTES, run(client, "echo after")[1].decode()]


@check
def a_terminal(client):
    channel = client.get_transport().open_session()
    channel.get_pty("vt100", 101, 33)
    channel.exec_command("stty size; tty >/dev/null && echo terminal")
    out = channel.makefile("rb").read().decode()
    return [out, channel.recv_exit_status()]


@check
def environment(client):
    channel = client.get_transport().open_session()
    channel.set_environment_variable("LC_SALLYPORT", "kept")
    channel.exec_command("echo $LC_SALLYPORT")
    return channel.makefile("rb").read().decode()


@check
def files(client):
    sftp = client.open_sftp()
    folder = sys.argv[4]
    path = os.path.join(folder, f"paramiko-{os.getpid()}")
    with sftp.open(path, "wb") as handle:
        handle.write(ALL_BYTES)
    with sftp.open(path, "rb") as handle:
        handle.prefetch()
        digest = hashlib.sha256(handle.read()).hexdigest()
    size = sftp.stat(path).st_size
    sftp.rename(path, path + ".moved")
    listed = os.path.basename(path) + ".moved" in sftp.listdir(folder)
    sftp.remove(path + ".moved")
    try:
        sftp.stat(path)
        gone = False
    except FileNotFoundError:
        gone = True
    return [digest, size, listed, gone]


@check
def forward(client):
    channel = client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", int(sys.argv[3])), ("127.0.0.1", 4242))
    greeting = channel.recv(8).decode()
    channel.close()
    return greeting


@check
def keep_alive(client):
    transport = client.get_transport()
    transport.set_keepalive(1)
    status = run(client, "sleep 2.5; exit 4")[0]
    transport.set_keepalive(0)
    return status


def main():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(sys.argv[1]), "deploy", key_filename=sys.argv[2], allow_agent=False, look_for_keys=False)
    results = {}
    for function in CHECKS:
        try:
            results[function.__name__] = function(client)
        except Exception as error:  # the comparison shows it
            results[function.__name__] = f"{type(error).__name__}: {error}"
    client.close()
    print(json.dumps(results))


main()
