"""How much of everything a client may take. Not settings: who needs other numbers needs another design."""

HEAD_BYTES = 16_384
HEADERS = 100
BODY_BYTES = 4 << 20
# What may wait behind a request that is being answered.
PIPELINED_BYTES = 65_536
ANSWER_BYTES = 64 << 20

HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 2.0
# How long a client may leave more than WRITE_BYTES unread.
SLOW_SECONDS = 30.0
WRITE_BYTES = 65_536
CONNECTIONS = 4096

CONNECT_SECONDS = 2.0
ENGINE_IDLE_SECONDS = 30.0
# What may wait of a stream whose client reads more slowly than the engine writes.
STREAM_BYTES = 262_144
SWEEP_SECONDS = 0.25
