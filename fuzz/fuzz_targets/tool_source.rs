//! See `retold_tools::fuzzing::tool_source`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_tools::fuzzing::tool_source(data));
