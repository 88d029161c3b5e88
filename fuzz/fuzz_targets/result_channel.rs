//! See `retold_tools::fuzzing::result_channel`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_tools::fuzzing::result_channel(data));
