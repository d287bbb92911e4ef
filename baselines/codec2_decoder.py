"""Decodes an utterance of Codec 2, in a process of its own: `codec2_decoder.py MODE < packets > pcm`.

A program by itself that imports nothing of evalkit: it starts once for every utterance.
"""

import sys

import pycodec2


def main(mode: int) -> None:
    """Decode all frames on standard input, one after another, to 16-bit PCM at 8 kHz.

    Args:
        mode: As pycodec2 names the bitrate.
    """
    decoder = pycodec2.Codec2(mode)
    packets, size = sys.stdin.buffer.read(), decoder.bytes_per_frame()
    for start in range(0, len(packets), size):
        sys.stdout.buffer.write(decoder.decode(packets[start : start + size]).tobytes())


if __name__ == "__main__":
    main(int(sys.argv[1]))
