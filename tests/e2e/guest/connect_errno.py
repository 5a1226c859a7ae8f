# connect_errno.py CID PORT | PATH: how a connect to this vsock or unix address ends, by the name of its errno. On a unix
# socket it waits for the end of the connection.
import errno
import socket
import sys

where = sys.argv[1:]
family, address = (socket.AF_VSOCK, (int(where[0]), int(where[1]))) if len(where) == 2 else (socket.AF_UNIX, where[0])
with socket.socket(family, socket.SOCK_STREAM) as client:
    try:
        client.connect(address)
        if family == socket.AF_UNIX:
            client.recv(1)
        print("connected")
    except OSError as error:
        print(errno.errorcode[error.errno])
