// hotgate with ioredis: node ioredis.js PORT [KEY-PREFIX]
const Redis = require("ioredis");

async function main() {
  const port = Number(process.argv[2] || 6380);
  const prefix = process.argv[3] || "example:ioredis";
  const client = new Redis({ port });

  // A counter, hot or not: the reply is the one that Redis gives.
  console.log("views:", await client.incr(`${prefix}:views`));

  // A SKU under a quota: each grant is one INCR, and a refusal is an error that begins with QUOTA.
  let sold = 0;
  for (;;) {
    try {
      await client.incr(`${prefix}:sold`);
      sold += 1;
    } catch (error) {
      if (error.message.startsWith("QUOTA")) break;
      // "outcome is unknown": the sale may have been counted. Read the counter before trying again.
      throw error;
    }
  }
  console.log("sold:", sold);
  console.log("sold out");
  await client.quit();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
