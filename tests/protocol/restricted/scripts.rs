//! A user that is itself at Redis (`auth.upstream_identity = "same"`) tries to reach another's key by scripts and functions.

use super::requests::requests;
use super::{contents, setting_as_itself};
use crate::support::text::{one_line, words};

/// What a script does, Redis looks at: keys that it does not declare, those that are declared for something else, in a transaction and in a function.
#[test]
fn no_script_reaches_anothers_key() {
    let (server, gateway, mut client) = setting_as_itself();
    let before = contents(&server);
    let library =
        "#!lua name=any\nredis.register_function('any', function(k, a) return redis.pcall(unpack(a)) end)";
    assert_eq!(gateway.client().call(&["FUNCTION", "LOAD", library]), b"$3\r\nany\r\n");
    let scripts: [&[&str]; 5] = [
        &["EVAL", "return redis.call(unpack(ARGV))", "0"],
        &["EVAL", "return redis.pcall(unpack(ARGV))", "1", "app:k"],
        &["EVAL_RO", "redis.setresp(3) return redis.pcall(unpack(ARGV))", "0"],
        &["FCALL", "any", "0"],
        &["EVAL", "#!lua flags=allow-cross-slot-keys\nreturn redis.pcall(unpack(ARGV))", "0"],
    ];
    client.check("EVAL \"return redis.call('SET','app:k','v')\" 0", "+OK");
    for (_, line) in requests() {
        let words = words(&line);
        for script in scripts {
            let begun = script.iter().map(|word| word.as_bytes().to_vec());
            let request: Vec<Vec<u8>> = begun.chain(words.iter().map(|word| word.to_vec())).collect();
            let said = one_line(&client.call(&request));
            // Redis's error, as an error or as the reply of one that was caught.
            assert!(said.starts_with('-'), "{line} by {}: {said}", script[0]);
        }
        client.check("MULTI", "+OK");
        let begun = scripts[0].iter().map(|word| word.as_bytes().to_vec());
        let request: Vec<Vec<u8>> = begun.chain(words.iter().map(|word| word.to_vec())).collect();
        assert_eq!(client.call(&request), b"+QUEUED\r\n");
        client.check("EXEC", "*1 -...");
    }
    assert_eq!(contents(&server), before, "nothing was changed");
}
