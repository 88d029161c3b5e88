//! See `retold::http::fuzzing::cursors`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold::http::fuzzing::cursors(data));
