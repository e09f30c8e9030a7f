"""How much of everything a client may take. Not settings: who needs other numbers needs another design."""

from stagecoach.contract.client_api import BODY_BYTES as BODY_BYTES
from stagecoach.contract.client_api import HEAD_BYTES as HEAD_BYTES

HEADERS = 100
# Longer bodies are not read from who may not ask.
UNCHECKED_BYTES = 16_384
# All bodies of a server that are held at once.
ALL_BODY_BYTES = 256 << 20
# What may wait behind a request that is being answered.
PIPELINED_BYTES = 65_536
ANSWER_BYTES = 64 << 20

HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 2.0
# A client that leaves more than WRITE_BYTES unread has to read so much of it in this time.
SLOW_SECONDS = 30.0
SLOW_BYTES = 4096
# From the end of the last answer until the connection is closed, whatever is unread.
CLOSE_SECONDS = 60.0
WRITE_BYTES = 65_536
CONNECTIONS = 4096
# Of those that were refused and may read why.
LEAVING = 1024

# Long for a network; a gateway whose node is busy sees late that it is connected.
CONNECT_SECONDS = 5.0
# With a look-up of the name before it: resolvers ask again after 5 s what nobody has answered.
LOOKUP_SECONDS = 6.0
# Less than engines wait (uvicorn, and so vLLM: 5 s): a request is not sent into a connection that they close just then.
ENGINE_IDLE_SECONDS = 4.0
# No request is sent into an older connection, which leads to the same pod for as long as it is used. So a new pod gets
# its part; and one that leaves has no request any more when it stops, 10 s after: nodes hear of it in 5 s.
ENGINE_AGE_SECONDS = 4.0
# What may wait of a stream whose client reads more slowly than the engine writes.
STREAM_BYTES = 262_144
SWEEP_SECONDS = 0.25
