//! Requirements: an environment for each set, made once, and a failure that names what failed.
