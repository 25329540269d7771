//! A request ends at one place: whoever answers it, its slot of the reply queue, its tallies and its times are settled together.

use super::{code, files, is_test_file};

/// Who may say what. Everybody else hands in how a request ended (`src/worker/ended.rs`) where its slot is settled.
const PLACES: [(&str, &[&str]); 7] = [
    ("tallies.count(", &[]),
    (".count_many(", &["worker/ended.rs"]),
    ("reply_times.", &["worker/ended.rs"]),
    (".count_ended(", &["worker/client/settle.rs"]),
    ("replies.settle(", &["worker/client/settle.rs"]),
    ("replies.settle_run(", &["worker/client/settle.rs"]),
    ("replies.answer(", &["worker/client/settle.rs"]),
];

#[test]
fn nobody_settles_a_request_but_the_one_end() {
    let mut found = Vec::new();
    for (path, text) in files("worker").into_iter().filter(|(path, _)| !is_test_file(path)) {
        // A call may be broken into lines.
        let text: String = code(&text).flat_map(str::split_whitespace).collect();
        for (word, places) in PLACES {
            if text.contains(word) && !places.iter().any(|place| path.ends_with(place)) {
                found.push(format!("{}: `{word}`", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "src/worker/ended.rs says where a request ends: {found:#?}");
}

#[test]
fn the_text_of_an_error_is_written_and_never_read() {
    let mut found = Vec::new();
    for directory in ["worker", "combine", "admission"] {
        for (path, text) in files(directory).into_iter().filter(|(path, _)| !is_test_file(path)) {
            for (line, code) in code(&text).enumerate() {
                let reads = ["starts_with(", "ends_with(", ".contains(", "== "]
                    .iter()
                    .any(|word| code.contains(word));
                if reads
                    && ["hotgate: ", "UNKNOWN", "NOT_UNDERSTOOD", "NOT_EXECUTED"]
                        .iter()
                        .any(|text| code.contains(text))
                {
                    found.push(format!("{}:{}", path.display(), line + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "what became of a request is a variant, not a text: {found:#?}");
}
