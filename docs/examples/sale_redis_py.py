"""A sale of hotgate with redis-py: python3 sale_redis_py.py PORT [PREFIX]"""

import sys

import redis

port = int(sys.argv[1]) if len(sys.argv) > 1 else 6380
prefix = sys.argv[2] if len(sys.argv) > 2 else "example:sale-redis-py"
client = redis.Redis(port=port, decode_responses=True)
booking, gift = f"{prefix}:booking", f"{prefix}:gift"

# The shop opens two sales: two places, and one gift.
client.execute_command("RESERVE.OPEN", booking, "LIMIT", 2)
client.execute_command("RESERVE.OPEN", gift, "LIMIT", 1, "HOLD", 60000)


def add(sku, user, *options):
    """State and place in line; or why there is none. A repeated call finds what the user holds."""
    try:
        state, seq, _remaining, _expires = client.execute_command("RESERVE.ADD", sku, user, *options)
        return f"{state} {seq}"
    except redis.ResponseError as error:
        if str(error).startswith("SOLDOUT"):
            return "sold out"
        raise


for user in ("ada", "bob", "eve", "ada"):
    print(f"{user}: {add(booking, user)}")


def order(user, order_id, skus):
    """All SKUs or none: what was got is given back when one is refused."""
    got = []
    for sku in skus:
        if add(sku, user, "IDMP", order_id) == "sold out":
            for other in got:
                client.execute_command("RESERVE.CANCEL", other, user)
            return "refused"
        got.append(sku)
    for sku in got:
        client.execute_command("RESERVE.CONFIRM", sku, user)
    return "complete"


print("order of eve:", order("eve", "order-1", [gift, booking]))
print("bob gives back:", client.execute_command("RESERVE.CANCEL", booking, "bob")[0])
print("order of eve:", order("eve", "order-2", [gift, booking]))
print("in line:", " ".join(row[1] for row in client.execute_command("RESERVE.LIST", booking)))
