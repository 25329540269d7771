"""hotgate with redis-py: python3 redis_py.py PORT [KEY-PREFIX]"""

import sys

import redis

port = int(sys.argv[1]) if len(sys.argv) > 1 else 6380
prefix = sys.argv[2] if len(sys.argv) > 2 else "example:redis-py"
client = redis.Redis(port=port, decode_responses=True)

# A counter, hot or not: the reply is the one that Redis gives.
print("views:", client.incr(f"{prefix}:views"))

# A SKU under a quota: each grant is one INCR, and a refusal is an error that begins with QUOTA.
sold = 0
while True:
    try:
        client.incr(f"{prefix}:sold")
        sold += 1
    except redis.ResponseError as error:
        if str(error).startswith("QUOTA"):
            break
        # "outcome is unknown": the sale may have been counted. Read the counter before trying again.
        raise
print("sold:", sold)
print("sold out")
