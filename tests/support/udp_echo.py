"""Sends every datagram back to where it came from: udp_echo.py ADDRESS PORT"""
import socket
import sys


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.bind((sys.argv[1], int(sys.argv[2])))
        print("ready", flush=True)
        while True:
            try:
                data, peer = s.recvfrom(65535)
                s.sendto(data, peer)
            except ConnectionError:
                pass                       # an ICMP error about an earlier answer


main()
