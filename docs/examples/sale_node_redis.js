// A sale of hotgate with node-redis: node sale_node_redis.js PORT [PREFIX]
const { createClient } = require("redis");

async function sell(call, prefix) {
  const [booking, gift] = [`${prefix}:booking`, `${prefix}:gift`];

  // The shop opens two sales: two places, and one gift.
  await call("RESERVE.OPEN", booking, "LIMIT", "2");
  await call("RESERVE.OPEN", gift, "LIMIT", "1", "HOLD", "60000");

  // State and place in line; or why there is none. A repeated call finds what the user holds.
  async function add(sku, user, ...options) {
    try {
      const [state, seq] = await call("RESERVE.ADD", sku, user, ...options);
      return `${state} ${seq}`;
    } catch (error) {
      if (error.message.startsWith("SOLDOUT")) return "sold out";
      throw error;
    }
  }

  for (const user of ["ada", "bob", "eve", "ada"]) {
    console.log(`${user}: ${await add(booking, user)}`);
  }

  // All SKUs or none: what was got is given back when one is refused.
  async function order(user, orderId, skus) {
    const got = [];
    for (const sku of skus) {
      if ((await add(sku, user, "IDMP", orderId)) === "sold out") {
        for (const other of got) await call("RESERVE.CANCEL", other, user);
        return "refused";
      }
      got.push(sku);
    }
    for (const sku of got) await call("RESERVE.CONFIRM", sku, user);
    return "complete";
  }

  console.log("order of eve:", await order("eve", "order-1", [gift, booking]));
  console.log("bob gives back:", (await call("RESERVE.CANCEL", booking, "bob"))[0]);
  console.log("order of eve:", await order("eve", "order-2", [gift, booking]));
  const rows = await call("RESERVE.LIST", booking);
  console.log("in line:", rows.map(row => row[1]).join(" "));
}

async function main() {
  const client = createClient({ socket: { port: Number(process.argv[2] || 6380) } });
  client.on("error", error => console.error("connection:", error.message));
  await client.connect();
  await sell((...words) => client.sendCommand(words), process.argv[3] || "example:sale-node-redis");
  await client.quit();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
