//! hotgate with redis-rs: cargo run --example redis_rs -- PORT [KEY-PREFIX]

use redis::Commands;

fn main() -> redis::RedisResult<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "6380".to_owned());
    let prefix = arguments.next().unwrap_or_else(|| "example:redis-rs".to_owned());
    let mut client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?.get_connection()?;

    // A counter, hot or not: the reply is the one that Redis gives.
    let views: i64 = client.incr(format!("{prefix}:views"), 1)?;
    println!("views: {views}");

    // A SKU under a quota: each grant is one INCR, and a refusal is an error whose code is QUOTA.
    let mut sold = 0;
    loop {
        match client.incr::<_, _, i64>(format!("{prefix}:sold"), 1) {
            Ok(_) => sold += 1,
            Err(error) if error.code() == Some("QUOTA") => break,
            // "outcome is unknown": the sale may have been counted. Read the counter before trying again.
            Err(error) => return Err(error),
        }
    }
    println!("sold: {sold}");
    println!("sold out");
    Ok(())
}
