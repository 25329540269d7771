"""redis-py against the gateway: redis_py.py HOST PORT plain|cluster PROTOCOL [CA], with TLS if an authority is named.

Ends with an exception at the first thing that is not as it is with Redis itself.
"""

import sys
import threading

import redis

host, port, mode, protocol = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
tls = {"ssl": True, "ssl_ca_certs": sys.argv[5]} if len(sys.argv) > 5 else {}
prefix = f"py:{mode}:{protocol}"


def connect(**options):
    kind = redis.RedisCluster if mode == "cluster" else redis.Redis
    options = {"decode_responses": True, "socket_timeout": 60, **tls, **options}
    return kind(host=host, port=port, protocol=protocol, **options)


def basics(client):
    assert client.ping()
    assert client.set(f"{prefix}:k", "v") is True
    assert client.get(f"{prefix}:k") == "v"
    assert client.get(f"{prefix}:none") is None
    client.delete(f"{prefix}:n", f"{prefix}:h", f"{prefix}:z", f"{prefix}:s")
    assert client.incrby(f"{prefix}:n", 41) == 41 and client.incr(f"{prefix}:n") == 42
    client.hset(f"{prefix}:h", mapping={"a": "1", "b": "2"})
    assert client.hgetall(f"{prefix}:h") == {"a": "1", "b": "2"}
    client.zadd(f"{prefix}:z", {"x": 1.5, "y": 2})
    assert [tuple(pair) for pair in client.zrange(f"{prefix}:z", 0, -1, withscores=True)] == [("x", 1.5), ("y", 2.0)]
    client.sadd(f"{prefix}:s", "1", "2")
    assert client.smembers(f"{prefix}:s") == {"1", "2"}
    try:
        client.lpush(f"{prefix}:k", "x")
    except redis.ResponseError as error:
        assert "wrong kind of value" in str(error)
    else:
        raise AssertionError("no WRONGTYPE")
    binary = connect(decode_responses=False)
    assert binary.set(b"\x00\xff\r\n", bytes(range(256)) * 1000) is True
    assert binary.get(b"\x00\xff\r\n") == bytes(range(256)) * 1000


def many_keys(client):
    pairs = {f"{prefix}:many:{number}": str(number) for number in range(300)}
    if mode == "cluster":
        client.mset_nonatomic(pairs)
        assert client.mget_nonatomic(list(pairs)) == list(pairs.values())
    else:
        client.mset(pairs)
        assert client.mget(list(pairs)) == list(pairs.values())
    assert sorted(client.scan_iter(match=f"{prefix}:many:*", count=50)) == sorted(pairs)
    assert client.delete(*pairs) == 300


def pipelines(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.set(f"{prefix}:pipe:{number}", number)
        pipeline.get(f"{prefix}:pipe:{number}")
    replies = pipeline.execute()
    assert replies[1::2] == [str(number) for number in range(500)] and all(replies[0::2])
    client.delete(f"{prefix}:pipe:0")
    pipeline = client.pipeline(transaction=False)
    pipeline.set(f"{prefix}:pipe:0", "text")
    pipeline.incr(f"{prefix}:pipe:0")
    pipeline.get(f"{prefix}:pipe:0")
    replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == "text"


def transactions(client):
    tag = f"{{{prefix}:tx}}"
    client.delete(f"{tag}a", f"{tag}b")
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr(f"{tag}a")
        pipeline.incrby(f"{tag}b", 5)
        assert pipeline.execute() == [1, 5]
    with client.pipeline(transaction=True) as pipeline:
        pipeline.watch(f"{tag}a")
        value = int(pipeline.get(f"{tag}a"))
        client.incr(f"{tag}a")
        pipeline.multi()
        pipeline.set(f"{tag}a", value + 100)
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed and EXEC succeeded")
    assert client.get(f"{tag}a") == "2"


def limiters(client):
    """Threads count in one window: each count is given out once, however the transactions come together."""
    key = f"{{{prefix}:tx}}:window"
    client.delete(key)
    told = []

    def count():
        own = connect()
        for _ in range(50):
            with own.pipeline(transaction=True) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, 1000)
                pipeline.ttl(key)
                told.append(tuple(pipeline.execute()))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(count for count, _, _ in told) == list(range(1, 401))
    # In a cluster's pipeline the client leaves the reply of EXPIRE a number.
    others = [one for one in told if one[1] != 1 or one[2] not in (999, 1000)]
    assert not others, others


def pub_sub(client):
    subscriber = client.pubsub()
    subscriber.subscribe(f"{prefix}:channel")
    subscriber.psubscribe(f"{prefix}:pattern:*")
    wanted = [("message", "one"), ("pmessage", "two"), ("message", "three")]
    got, confirmed = [], threading.Event()

    def listen():
        for message in subscriber.listen():
            if message["type"] == "psubscribe":
                confirmed.set()
            if message["type"] in ("message", "pmessage"):
                got.append((message["type"], message["data"]))
            if len(got) == len(wanted):
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert confirmed.wait(60)
    client.publish(f"{prefix}:channel", "one")
    client.publish(f"{prefix}:pattern:x", "two")
    client.publish(f"{prefix}:channel", "three")
    listener.join(60)
    assert got == wanted, got
    subscriber.close()


def scripts(client):
    increase = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    client.script_flush()
    for number in range(20):
        client.delete(f"{prefix}:script:{number}")
        assert increase(keys=[f"{prefix}:script:{number}"], args=[number]) == number
    assert client.eval("return {KEYS[1], ARGV[1]}", 1, f"{prefix}:k", "a") == [f"{prefix}:k", "a"]


def blocking(client):
    client.delete(f"{prefix}:list")
    popped = []
    waiter = threading.Thread(target=lambda: popped.append(connect().blpop([f"{prefix}:list"], timeout=60)))
    waiter.start()
    client.rpush(f"{prefix}:list", "v")
    waiter.join(60)
    assert [tuple(pair) for pair in popped] == [(f"{prefix}:list", "v")], popped


client = connect()
for promise in (basics, many_keys, pipelines, transactions, limiters, pub_sub, scripts, blocking):
    promise(client)
    print("ok", promise.__name__)
if mode == "cluster":
    ports = {node.port for node in client.get_nodes()}
    assert ports == {port}, f"the client went past the gateway: {ports}"
