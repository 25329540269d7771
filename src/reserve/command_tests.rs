use super::*;

fn parse<'a>(line: &'a str, store: &'a mut Vec<&'a [u8]>) -> Result<ReserveCommand<'a>, String> {
    store.extend(line.split(' ').map(str::as_bytes));
    ReserveCommand::parse(store)
}

#[test]
fn reads_what_clients_say() {
    let check = |line: &str, expect: ReserveCommand| {
        assert_eq!(parse(line, &mut Vec::new()), Ok(expect), "{line}");
    };
    let op = |kind, user: &str| ReserveOp::on(kind, user.as_bytes());
    check("RESERVE.CLOSE s", ReserveCommand::Close);
    check("reserve.reopen s", ReserveCommand::Reopen);
    check("reserve.info s", ReserveCommand::Op(op(OpKind::Info, "")));
    check("Reserve.Check s ann", ReserveCommand::Op(op(OpKind::Check, "ann")));
    check("reserve.confirm s ann", ReserveCommand::Op(op(OpKind::Confirm, "ann")));
    check("reserve.cancel s ann", ReserveCommand::Op(op(OpKind::Cancel, "ann")));
    let two = ReserveOp { count: Some(2), ..op(OpKind::Cancel, "ann") };
    check("reserve.cancel s ann count 2", ReserveCommand::Op(two));
    let one = ReserveOp { count: Some(1), ..op(OpKind::Add, "ann") };
    check("reserve.add s ann", ReserveCommand::Op(one.clone()));
    let three = ReserveOp { count: Some(3), id: Bytes::from_static(b"x1"), ..one };
    check("reserve.add s ann IDMP x1 COUNT 3", ReserveCommand::Op(three));
    check("reserve.mcheck s a b", ReserveCommand::CheckMany(vec![Bytes::from("a"), Bytes::from("b")]));
    check("reserve.list s", ReserveCommand::List { after: 0, count: 100, state: None });
    let held = Some(StateFilter::Held);
    check(
        "reserve.list s AFTER 7 COUNT 9 STATE held",
        ReserveCommand::List { after: 7, count: 9, state: held },
    );
    check("reserve.move s t", ReserveCommand::Move { to: b"t", count: None });
    check("reserve.move s t COUNT 50", ReserveCommand::Move { to: b"t", count: Some(50) });
    check("reserve.drop s", ReserveCommand::Drop { count: None });
    check("reserve.skus AFTER s COUNT 2", ReserveCommand::Skus { after: b"s", count: 2 });
    check("reserve.skus", ReserveCommand::Skus { after: b"", count: 100 });
    check(
        "reserve.open s LIMIT 5",
        ReserveCommand::Open(OpenTerms { limit: Some(5), ..OpenTerms::default() }),
    );
    let extended = OpenTerms { end_ms: Some(20), ..OpenTerms::default() };
    check("reserve.open s END 20", ReserveCommand::Open(extended));
    let all = OpenTerms {
        limit: Some(5),
        per_user: Some(2),
        start_ms: Some(10),
        end_ms: Some(20),
        hold_ms: Some(300),
        holders_of: Some(b"{s}b"),
        ledger: Some(false),
        unread_max: None,
    };
    let line = "reserve.open s limit 5 PERUSER 2 START 10 END 20 HOLD 300 HOLDERSOF {s}b LEDGER off";
    check(line, ReserveCommand::Open(all));
}

#[test]
fn says_what_is_wrong() {
    let check = |line: &str, part: &str| {
        let error = parse(line, &mut Vec::new()).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    };
    check("reserve.add s", "ERR wrong number of arguments for 'reserve.add' command");
    check("reserve.check s a b", "wrong number of arguments for 'reserve.check'");
    check("reserve.mcheck s", "wrong number of arguments");
    check("reserve.close", "wrong number of arguments");
    check("reserve.close s now", "wrong number of arguments");
    check("reserve.add s ann COUNT", "ERR COUNT needs a value");
    check("reserve.add s ann COUNT 0", "ERR COUNT takes an integer from 1 to 4294967295, not '0'");
    check("reserve.add s ann COUNT 4294967296", "COUNT takes an integer");
    check("reserve.add s ann TIMES 3", "ERR RESERVE.ADD has no word 'TIMES'");
    check("reserve.add s  IDMP x", "a name of 1 to 512 bytes, not of 0");
    check(&format!("reserve.add s {}", "x".repeat(513)), "a name of 1 to 512 bytes, not of 513");
    check(&format!("reserve.add s a IDMP {}", "x".repeat(65)), "an id of 1 to 64 bytes, not of 65");
    for sku in ["", &"x".repeat(513)] {
        let length = format!("a sale has a name of 1 to 512 bytes, not of {}", sku.len());
        check(&format!("reserve.open {sku} LIMIT 5"), &length);
        check(&format!("reserve.add {sku} a"), &length);
        check(&format!("reserve.move s {sku}"), &length);
    }
    check("reserve.open s", "ERR RESERVE.OPEN needs LIMIT");
    check("reserve.open s LIMIT -1", "LIMIT takes an integer from 0");
    check("reserve.open s LIMIT 5 PERUSER 0", "PERUSER takes an integer from 1");
    check("reserve.open s LIMIT 5 START 20 END 20", "START 20 is not before END 20");
    check("reserve.open s LIMIT 5 HOLDERSOF s", "names the sale itself");
    check("reserve.open s LIMIT 5 HOLDERSOF t", "CROSSSLOT HOLDERSOF t is in another slot");
    check("reserve.open s LIMIT 5 LEDGER maybe", "LEDGER is ON or OFF, not 'maybe'");
    check("reserve.open s LIMIT 5 COLOUR red", "RESERVE.OPEN has no word 'COLOUR'");
    check(&format!("reserve.mcheck s{}", " u".repeat(1001)), "RESERVE.MCHECK takes at most 1000 users");
    check("reserve.list s STATE sold", "STATE is held, confirmed or moved, not 'sold'");
    check("reserve.list s COUNT 1001", "COUNT takes an integer from 1 to 1000");
    check("reserve.move s s", "moved to itself");
    check("reserve.fly s", "unknown command 'reserve.fly'");
}
