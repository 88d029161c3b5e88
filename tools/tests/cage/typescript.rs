//! TypeScript tools.
