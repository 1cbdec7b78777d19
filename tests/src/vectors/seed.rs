//! Bytes that look random and are the same in every run.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// A name from which bytes follow: that of a vector, of a key, or of a part of a vector.
#[derive(Clone)]
pub(super) struct Seed(String);

/// The bytes for one purpose: SHA-256 over the seed, the purpose and a counter.
pub(super) struct Stream {
    prefix: Sha256,
    counter: u64,
    rest: Vec<u8>,
}

impl Seed {
    pub(super) fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(super) fn stream(&self, purpose: &str) -> Stream {
        let prefix = Sha256::new_with_prefix(format!("waxseal test vector\0{}\0{purpose}\0", self.0));
        Stream { prefix, counter: 0, rest: Vec::new() }
    }

    pub(super) fn bytes<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream(purpose).fill(&mut bytes);
        bytes
    }
}

impl Stream {
    fn fill(&mut self, bytes: &mut [u8]) {
        while self.rest.len() < bytes.len() {
            self.rest.extend(self.prefix.clone().chain_update(self.counter.to_be_bytes()).finalize());
            self.counter += 1;
        }
        let after = self.rest.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.rest, after));
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}
