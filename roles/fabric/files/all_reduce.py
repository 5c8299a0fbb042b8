"""all_reduce over the GPUs of one host or of several, without MPI: ctypes on libnccl and the CUDA runtime.

    echo TOKEN | python3 all_reduce.py --rank 0 --hosts 2 --meet 10.0.0.21:18600 --gpus 0,1,2,3 --bytes 1G

Each host runs it once, for all its GPUs. Host 0 makes NCCL's id and hands it to the others, who connect to
`--meet` and show the token. Host 0 prints one JSON document in the form of nccl-tests' (-J): bus_bw in GB/s,
nwrong the values that came out wrong. Environment variables of NCCL are taken as they are.

Measured as nccl-tests does: warm-up, then so many rounds between two synchronisations; bus bandwidth is
bytes/time x 2(n-1)/n. Python 3.6 is enough; nothing beyond the standard library is imported.
"""

import argparse
import ctypes
import hmac
import json
import socket
import sys
import time

FLOAT, SUM = 7, 0  # ncclFloat32, ncclSum
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
PATIENCE = 60.0  # seconds until all hosts have met


class UniqueId(ctypes.Structure):
    _fields_ = [("internal", ctypes.c_byte * 128)]


class Failed(Exception):
    """A library said no, or was not there."""


def library(names):
    """The first of these shared libraries that is there."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = str(error)
    raise Failed(f"{names[0]} cannot be loaded: {reason}")


class Device:
    """The buffers and the communicator of one GPU."""

    def __init__(self, number):
        self.number = number
        self.buffer = ctypes.c_void_p()
        self.stream = ctypes.c_void_p()
        self.communicator = ctypes.c_void_p()


class Ring:
    """All GPUs of this host in one communicator with those of the others."""

    def __init__(self, numbers, size):
        self.cuda = library(["libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"])
        self.nccl = library(["libnccl.so.2", "libnccl.so"])
        self.nccl.ncclGetErrorString.restype = ctypes.c_char_p
        self.cuda.cudaGetErrorString.restype = ctypes.c_char_p
        self.count = size // 4
        self.devices = [Device(number) for number in numbers]

    def check(self, code):
        if code:
            raise Failed(f"NCCL failure {code}: {self.nccl.ncclGetErrorString(code).decode(errors='replace')}")

    def cu(self, code):
        if code:
            raise Failed(f"CUDA failure {code}: {self.cuda.cudaGetErrorString(code).decode(errors='replace')}")

    def new_id(self):
        made = UniqueId()
        self.check(self.nccl.ncclGetUniqueId(ctypes.byref(made)))
        return bytes(made)

    def join(self, identity, host, hosts):
        ranks = hosts * len(self.devices)
        told = UniqueId.from_buffer_copy(identity)
        for one in self.devices:
            self.cu(self.cuda.cudaSetDevice(one.number))
            self.cu(self.cuda.cudaMalloc(ctypes.byref(one.buffer), ctypes.c_size_t(self.count * 4)))
            self.cu(self.cuda.cudaStreamCreate(ctypes.byref(one.stream)))
        self.check(self.nccl.ncclGroupStart())
        for place, one in enumerate(self.devices):
            self.cu(self.cuda.cudaSetDevice(one.number))
            rank = host * len(self.devices) + place
            self.check(self.nccl.ncclCommInitRank(ctypes.byref(one.communicator), ranks, told, rank))
        self.check(self.nccl.ncclGroupEnd())
        return ranks

    def reduce(self, times):
        """So many rounds in place, started one after the other; returns when all are done."""
        for _ in range(times):
            self.check(self.nccl.ncclGroupStart())
            for one in self.devices:
                self.check(
                    self.nccl.ncclAllReduce(
                        one.buffer, one.buffer, ctypes.c_size_t(self.count), FLOAT, SUM, one.communicator, one.stream
                    )
                )
            self.check(self.nccl.ncclGroupEnd())
        for one in self.devices:
            self.cu(self.cuda.cudaSetDevice(one.number))
            self.cu(self.cuda.cudaStreamSynchronize(one.stream))

    def fill(self, value):
        """Every number of every buffer."""
        step = min(self.count, 1 << 20)
        block = (ctypes.c_float * step)(*([value] * step))
        for one in self.devices:
            self.cu(self.cuda.cudaSetDevice(one.number))
            for start in range(0, self.count, step):
                amount = min(step, self.count - start)
                where = ctypes.c_void_p(one.buffer.value + start * 4)
                self.cu(self.cuda.cudaMemcpy(where, block, ctypes.c_size_t(amount * 4), TO_DEVICE))

    def wrong(self, value):
        """How many of the numbers looked at are not this one: the first and last 65536 of each buffer."""
        found, step = 0, min(self.count, 65536)
        block = (ctypes.c_float * step)()
        for one in self.devices:
            self.cu(self.cuda.cudaSetDevice(one.number))
            for start in {0, self.count - step}:
                where = ctypes.c_void_p(one.buffer.value + start * 4)
                self.cu(self.cuda.cudaMemcpy(block, where, ctypes.c_size_t(step * 4), TO_HOST))
                found += sum(number != value for number in block)
        return found


def hand_out(identity, meet, token, others):
    """Give the id to so many others; one that does not know the token gets nothing."""
    with socket.socket() if ":" not in meet[0] else socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(meet)
        listener.listen(16)
        end, served = time.monotonic() + PATIENCE, 0
        while served < others:
            listener.settimeout(max(end - time.monotonic(), 0.01))
            try:
                peer, _ = listener.accept()
            except socket.timeout:
                where = f"{meet[0]} port {meet[1]}"
                raise Failed(f"the other host did not come to {where} within {PATIENCE:.0f} s") from None
            with peer:
                peer.settimeout(5)
                if hmac.compare_digest(read(peer, len(token)), token):
                    peer.sendall(identity)
                    served += 1


def fetch(meet, token):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection(meet, timeout=5) as peer:
                peer.sendall(token)
                identity = read(peer, 128)
            if len(identity) == 128:
                return identity
        except OSError:
            pass
        if time.monotonic() > end:
            raise Failed(f"host 0 does not answer at {meet[0]} port {meet[1]}: is the port open between the hosts?")
        time.sleep(0.2)


def read(peer, length):
    got = b""
    try:
        while len(got) < length:
            part = peer.recv(length - len(got))
            if not part:
                break
            got += part
    except OSError:
        pass
    return got


def size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--meet", default="127.0.0.1:0")
    parser.add_argument("--gpus", default="0")
    parser.add_argument("--bytes", type=size, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


def main():
    given = arguments()
    address, _, port = given.meet.rpartition(":")
    meet = (address.strip("[]"), int(port))
    # read, never an argument: every user of the host may list those
    token = sys.stdin.readline().strip().encode() if given.hosts > 1 else b""
    if given.hosts > 1 and not token:
        raise Failed("no token on standard input")
    ring = Ring([int(number) for number in given.gpus.split(",")], given.bytes)
    if given.rank == 0:
        identity = ring.new_id()
        if given.hosts > 1:
            hand_out(identity, meet, token, given.hosts - 1)
    else:
        identity = fetch(meet, token)
    ranks = ring.join(identity, given.rank, given.hosts)
    ring.fill(1.0)
    ring.reduce(1)
    wrong = ring.wrong(float(ranks))
    ring.fill(0.0)  # the sum of nothing stays nothing: no overflow, however many rounds
    ring.reduce(5)
    start = time.monotonic()
    ring.reduce(given.rounds)
    seconds = (time.monotonic() - start) / given.rounds
    moved = ring.count * 4 / seconds / 1e9
    side = {"time": seconds * 1e6, "alg_bw": moved, "bus_bw": moved * 2 * (ranks - 1) / ranks, "nwrong": wrong}
    row = {"size": ring.count * 4, "count": ring.count, "type": "float", "redop": "sum", "in_place": side}
    if given.rank == 0:
        sys.stdout.write(json.dumps({"program": "all_reduce.py", "ranks": ranks, "results": [row]}) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.stderr.write(f"error: {failed}\n")
        sys.exit(1)
