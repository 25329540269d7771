//! A module as users load them: commands that no command table knows beforehand.
//!
//! `LEDGER.READ key` reads a string, `LEDGER.ADD key delta` adds to it and answers what it was and what it is, and
//! `LEDGER.SHAPE key` answers in forms that few commands of Redis use: nested arrays, a double, a null, an empty array.
//! `LEDGER.WHOAMI` names no key and answers who runs it.

use redis_module::{Context, NextArg, RedisError, RedisResult, RedisString, RedisValue, redis_module};

fn number(ctx: &Context, key: &RedisString) -> Result<Option<i64>, RedisError> {
    let Some(text) = ctx.open_key(key).read()?.map(<[u8]>::to_vec) else { return Ok(None) };
    let text = String::from_utf8(text).map_err(|_| RedisError::Str("ERR not a ledger"))?;
    text.parse().map(Some).map_err(|_| RedisError::Str("ERR not a ledger"))
}

fn read(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    if args.len() != 2 {
        return Err(RedisError::WrongArity);
    }
    Ok(number(ctx, &args[1])?.map_or(RedisValue::Null, RedisValue::Integer))
}

fn add(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    if args.len() != 3 {
        return Err(RedisError::WrongArity);
    }
    let mut rest = args.into_iter().skip(1);
    let key = rest.next_arg()?;
    let delta = rest.next_i64()?;
    let was = number(ctx, &key)?.unwrap_or(0);
    let is = was.checked_add(delta).ok_or(RedisError::Str("ERR the ledger is full"))?;
    ctx.open_key_writable(&key).write(&is.to_string())?;
    ctx.replicate_verbatim();
    Ok(RedisValue::Array(vec![RedisValue::Integer(was), RedisValue::Integer(is)]))
}

fn shape(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    if args.len() != 2 {
        return Err(RedisError::WrongArity);
    }
    let value = number(ctx, &args[1])?.unwrap_or(0);
    Ok(RedisValue::Array(vec![
        RedisValue::Array(vec![]),
        RedisValue::Float(0.5),
        RedisValue::Null,
        RedisValue::Array(vec![RedisValue::SimpleString("ledger".into()), RedisValue::Integer(value)]),
        RedisValue::BulkString("end\r\n".into()),
    ]))
}

fn whoami(ctx: &Context, _: Vec<RedisString>) -> RedisResult {
    Ok(RedisValue::BulkRedisString(ctx.get_current_user()))
}

redis_module! {
    name: "ledger",
    version: 1,
    allocator: (redis_module::alloc::RedisAlloc, redis_module::alloc::RedisAlloc),
    data_types: [],
    commands: [
        ["ledger.read", read, "readonly fast", 1, 1, 1, ""],
        ["ledger.add", add, "write deny-oom", 1, 1, 1, ""],
        ["ledger.shape", shape, "readonly", 1, 1, 1, ""],
        ["ledger.whoami", whoami, "readonly", 0, 0, 0, ""],
    ],
}
