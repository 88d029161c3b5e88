//! See `retold_events::fuzzing::archive`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_events::fuzzing::archive(data));
