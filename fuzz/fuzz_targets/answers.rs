//! See `retold::http::fuzzing::answers`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold::http::fuzzing::answers(data));
