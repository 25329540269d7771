// ioredis against the gateway: node ioredis.js HOST PORT plain|cluster [CA], with TLS if an authority is named, and NODE_PATH where ioredis
// is installed.
// Ends with an exception at the first thing that is not as it is with Redis itself.
const assert = require('node:assert/strict');
const Redis = require('ioredis');

const [host, port, mode] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const prefix = `js:${mode}`;
const tls = process.argv[5] ? { tls: { ca: require('node:fs').readFileSync(process.argv[5]) } } : {};
const connect = () =>
  mode === 'cluster' ? new Redis.Cluster([{ host, port }], { redisOptions: tls }) : new Redis({ host, port, ...tls });

async function basics(client) {
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.set(`${prefix}:k`, 'v'), 'OK');
  assert.equal(await client.get(`${prefix}:k`), 'v');
  assert.equal(await client.get(`${prefix}:none`), null);
  for (const key of ['n', 'h', 'z']) await client.del(`${prefix}:${key}`);
  assert.equal(await client.incrby(`${prefix}:n`, 41), 41);
  await client.hset(`${prefix}:h`, { a: '1', b: '2' });
  assert.deepEqual(await client.hgetall(`${prefix}:h`), { a: '1', b: '2' });
  await client.zadd(`${prefix}:z`, 1.5, 'x');
  assert.deepEqual(await client.zrange(`${prefix}:z`, 0, -1, 'WITHSCORES'), ['x', '1.5']);
  await assert.rejects(client.lpush(`${prefix}:k`, 'x'), /WRONGTYPE/);
  const bytes = Buffer.alloc(200_000, 0xff);
  await client.set(`${prefix}:binary`, bytes);
  assert.deepEqual(await client.getBuffer(`${prefix}:binary`), bytes);
}

async function pipelines(client) {
  const pipeline = client.pipeline();
  for (let number = 0; number < 500; number++) {
    // ioredis sends a cluster pipeline to one node, so its keys share a hash tag.
    pipeline.set(`{${prefix}:pipe}${number}`, number).get(`{${prefix}:pipe}${number}`);
  }
  const replies = await pipeline.exec();
  replies.forEach(([error, reply], index) => {
    assert.equal(error, null);
    assert.equal(reply, index % 2 === 0 ? 'OK' : String((index - 1) / 2));
  });
  const mixed = await client.pipeline().set(`${prefix}:m`, 'text').incr(`${prefix}:m`).get(`${prefix}:m`).exec();
  assert.equal(mixed[0][1], 'OK');
  assert.match(mixed[1][0].message, /not an integer/);
  assert.equal(mixed[2][1], 'text');
  await Promise.all(Array.from({ length: 500 }, (_, number) => client.set(`${prefix}:auto:${number}`, number)));
  const values = await Promise.all(Array.from({ length: 500 }, (_, number) => client.get(`${prefix}:auto:${number}`)));
  values.forEach((value, number) => assert.equal(value, String(number)));
}

async function transactions(client) {
  const tag = `{${prefix}:tx}`;
  await client.del(`${tag}a`, `${tag}b`);
  const replies = await client.multi().incr(`${tag}a`).incrby(`${tag}b`, 5).exec();
  assert.deepEqual(replies, [[null, 1], [null, 5]]);
  if (mode === 'plain') {
    const own = connect();
    await own.watch(`${tag}a`);
    await client.incr(`${tag}a`);
    assert.equal(await own.multi().set(`${tag}a`, 100).exec(), null);
    own.disconnect();
  }
}

async function limiters(client) {
  const key = `{${prefix}:tx}:window`;
  await client.del(key);
  const own = Array.from({ length: 8 }, () => connect());
  const count = async (who) => who.multi().incr(key).expire(key, 1000).exec();
  const told = await Promise.all(Array.from({ length: 400 }, (_, number) => count(own[number % own.length])));
  const counts = told.map((replies) => replies[0][1]).sort((one, other) => one - other);
  assert.deepEqual(counts, Array.from({ length: 400 }, (_, place) => place + 1));
  told.forEach((replies) => assert.deepEqual(replies[1], [null, 1]));
  own.forEach((one) => one.disconnect());
}

async function pubSub(client) {
  const subscriber = connect();
  const wanted = ['one', 'two', 'three'];
  const got = [];
  const all = new Promise((resolve) => {
    subscriber.on('message', (_channel, message) => {
      got.push(message);
      if (got.length === wanted.length) resolve();
    });
  });
  await subscriber.subscribe(`${prefix}:channel`);
  for (const message of wanted) await client.publish(`${prefix}:channel`, message);
  await all;
  assert.deepEqual(got, wanted);
  await subscriber.quit();
}

async function scripts(client) {
  client.defineCommand('increaseBy', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  for (let number = 0; number < 20; number++) {
    await client.del(`${prefix}:script:${number}`);
    assert.equal(await client.increaseBy(`${prefix}:script:${number}`, number), number);
  }
}

async function blocking(client) {
  await client.del(`${prefix}:list`);
  const waiter = connect();
  const popped = waiter.blpop(`${prefix}:list`, 60);
  await client.rpush(`${prefix}:list`, 'v');
  assert.deepEqual(await popped, [`${prefix}:list`, 'v']);
  waiter.disconnect();
}

async function main() {
  const client = connect();
  for (const promise of [basics, pipelines, transactions, limiters, pubSub, scripts, blocking]) {
    await promise(client);
    console.log('ok', promise.name);
  }
  if (mode === 'cluster') {
    const ports = new Set(client.nodes().map((node) => node.options.port));
    assert.deepEqual([...ports], [port], 'the client went past the gateway');
  }
  client.disconnect();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
