//! Values that nobody may read in the log: kept encrypted, by somebody who knows the key. This crate does not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What it is called: of an environment variable, of a header. Not secret.
    pub name: String,
    /// What it is.
    pub value: Sealed,
}

/// An encrypted value. It opens for the owner and the name it was sealed for only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Whose it was when it was sealed: the UUID of an agent or a server. A fork keeps the values of its parent, and so
    /// their owner.
    pub owner: [u8; 16],
    /// What only the holder of the key can read.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes.len())
    }
}
