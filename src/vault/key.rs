//! A key: made of a text, of chance or of what is in a file, and what it seals.
//!
//! ```text
//! form 1: [1][key, 8 bytes][nonce, 12 bytes][value, encrypted][tag, 16 bytes]
//! ```
//!
//! AES-256 in GCM. A nonce is 96 bits of chance, which is good for some four thousand million values under one key.

use std::{fmt, num::NonZeroU32, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand::{SecureRandom, SystemRandom},
};

/// Bytes that name a key.
const ID_BYTES: usize = 8;
/// Bytes before what is encrypted.
const HEADER: usize = 1 + ID_BYTES + NONCE_LEN;
/// Bytes of what a key is made of.
pub(super) const MATERIAL_BYTES: usize = 32;

/// Work to try a text, about a quarter of a second: texts are chosen by people. What OWASP asks for with this function.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("it is not zero");
/// The same for every server: a text alone must do, also on another machine.
const SALT: &[u8] = b"retold secrets: key of a text, form 1";

/// Names a key without saying anything of it.
pub(super) type KeyId = [u8; ID_BYTES];

/// A key of secrets.
#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    cipher: Arc<LessSafeKey>,
}

impl Key {
    /// The key of a text. Takes a while.
    pub(super) fn derived(text: &str) -> Self {
        let mut material = [0; MATERIAL_BYTES];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, SALT, text.as_bytes(), &mut material);
        Self::of(&material)
    }

    /// A key of chance; `None` where the machine gives none.
    pub(super) fn chosen() -> Option<Self> {
        Some(Self::of(&chosen_material()?))
    }

    /// The key of what a file holds.
    pub(super) fn of(material: &[u8; MATERIAL_BYTES]) -> Self {
        // What names the key says nothing of what seals: both come from the material by themselves.
        let from = hkdf::Salt::new(hkdf::HKDF_SHA256, b"retold secrets").extract(material);
        let (mut id, mut seals) = ([0; ID_BYTES], [0; MATERIAL_BYTES]);
        expand(&from, b"name, form 1", &mut id);
        expand(&from, b"AES-256-GCM, form 1", &mut seals);
        let key = UnboundKey::new(&AES_256_GCM, &seals).expect("a key of AES-256 has 32 bytes");
        Self { id, cipher: Arc::new(LessSafeKey::new(key)) }
    }

    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// The sealed bytes; `None` where the machine gives no chance.
    pub(super) fn seal(&self, form: u8, bound_to: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut bytes = Vec::with_capacity(HEADER + value.len() + AES_256_GCM.tag_len());
        bytes.push(form);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(value);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealing = &mut bytes[HEADER..];
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(bound_to), sealing);
        bytes.extend_from_slice(tag.ok()?.as_ref());
        Some(bytes)
    }

    /// The value; `None` when these are not the bytes that were sealed, or not for this.
    pub(super) fn open(&self, unsealed: Unsealed<'_>, bound_to: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(unsealed.nonce);
        let mut bytes = unsealed.encrypted.to_vec();
        let opened = self.cipher.open_in_place(nonce, Aad::from(bound_to), &mut bytes).ok()?.len();
        bytes.truncate(opened);
        Some(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:02x?})", self.id)
    }
}

/// The parts of sealed bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsealed<'a> {
    pub(super) key: KeyId,
    nonce: [u8; NONCE_LEN],
    encrypted: &'a [u8],
}

impl<'a> Unsealed<'a> {
    /// The parts; `None` when there are too few bytes.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (_form, rest) = bytes.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (nonce, encrypted) = rest.split_first_chunk()?;
        Some(Self { key: *key, nonce: *nonce, encrypted })
    }
}

/// What a new key is made of; `None` where the machine gives no chance.
pub(super) fn chosen_material() -> Option<[u8; MATERIAL_BYTES]> {
    let mut material = [0; MATERIAL_BYTES];
    SystemRandom::new().fill(&mut material).ok().map(|()| material)
}

/// How many bytes are to come out.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(from: &hkdf::Prk, what: &[u8], into: &mut [u8]) {
    let what = [what];
    let expanded = from.expand(&what, Length(into.len())).and_then(|okm| okm.fill(into));
    expanded.expect("a few bytes are within what can be expanded");
}
