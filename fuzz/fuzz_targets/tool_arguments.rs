//! See `retold_tools::fuzzing::tool_arguments`, which the tests call, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| retold_tools::fuzzing::tool_arguments(data));
