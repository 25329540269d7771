// node-redis against the gateway with TLS: node node_redis_tls.js HOST PORT plain|cluster CA, with NODE_PATH where it is installed.
// Ends with an exception at the first thing that is not as it is with Redis itself.
const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { createClient, createCluster } = require('redis');

const [host, port, mode, ca] = process.argv.slice(2);
const socket = { tls: true, ca: readFileSync(ca) };
const url = `rediss://${host}:${port}`;

async function main() {
  const client =
    mode === 'cluster' ? createCluster({ rootNodes: [{ url }], defaults: { socket } }) : createClient({ url, socket });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  for (let number = 0; number < 100; number++) assert.equal(await client.set(`nr:${mode}:${number}`, `${number}`), 'OK');
  for (let number = 0; number < 100; number++) assert.equal(await client.get(`nr:${mode}:${number}`), `${number}`);
  await client.del(`nr:${mode}:n`);
  assert.equal(await client.incr(`nr:${mode}:n`), 1);
  const [set, got] = await client.multi().set(`{nr}:${mode}`, 'v').get(`{nr}:${mode}`).exec();
  assert.deepEqual([set, got], ['OK', 'v']);
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
