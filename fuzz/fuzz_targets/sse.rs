//! See `retold_models::fuzzing::sse`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_models::fuzzing::sse(data));
